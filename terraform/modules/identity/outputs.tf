output "function_accounts" {
  description = "E-mail addresses of the functions' accounts by kind of access."
  value       = { for access, account in google_service_account.functions : access => account.email }
  # A function does not deploy before it may read its secrets.
  depends_on = [google_secret_manager_secret_iam_member.readers]
}

output "companion_account" {
  description = "E-mail address of the companion's account."
  value       = google_service_account.companion.email
  # Without these rights, a new machine would fail for its first minutes.
  depends_on = [
    google_project_iam_member.companion_logs,
    google_project_iam_member.companion_topics,
    google_project_iam_member.store,
    google_secret_manager_secret_iam_member.admin_password,
    google_secret_manager_secret_iam_member.readers,
  ]
}

output "control_callers" {
  description = "Accounts that may call the companion's control endpoint: those of functions whose access says so, and the companion's, whose methods send from members of other shards."
  value = sort(concat(
    [for access, account in google_service_account.functions : account.email if contains(["companion", "bus"], access)],
    [google_service_account.companion.email],
  ))
}

output "push_account" {
  description = "E-mail address of the account that Pub/Sub pushes as; null when the companion pulls."
  value       = one(google_service_account.push[*].email)
}

output "build_account" {
  description = "Account that builds functions: resource name and IAM member."
  value = {
    name   = google_service_account.build.name
    member = google_service_account.build.member
  }
}
