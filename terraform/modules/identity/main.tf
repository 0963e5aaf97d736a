# Service accounts and their rights in the project. A right on a single resource (a repository, a bucket, a function) is
# granted on that resource, in the module that creates it.

locals {
  # Accounts of functions by access, and of the companion's host.
  programs = merge(
    { for access, account in google_service_account.functions : access => account.member },
    { host = google_service_account.companion.member },
  )

  secret_readers = merge([
    for name, secret in var.secrets : {
      for reader in secret.readers : "${name}/${reader}" => { secret = secret.secret, reader = reader }
      if contains(keys(local.programs), reader)
    }
  ]...)

  role_prefix = replace(var.name_prefix, "-", "_")

  # Rights of every publisher: the first publication creates the topic and the subscriptions of all members that want it,
  # and corrects existing subscriptions.
  topic_permissions = [
    "pubsub.subscriptions.create",
    "pubsub.subscriptions.delete",
    "pubsub.subscriptions.get",
    "pubsub.subscriptions.update",
    "pubsub.topics.attachSubscription",
    "pubsub.topics.create",
    "pubsub.topics.publish",
  ]

  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# --- Functions: one account per kind of access ---

resource "google_service_account" "functions" {
  for_each = var.accesses

  project      = var.project_id
  account_id   = "${var.name_prefix}-fn-${each.key}"
  display_name = "CMBS functions with access: ${each.key}"
  description  = "Runs the functions whose access in routes.json is ${each.key}"
}

# --- The companion ---

resource "google_service_account" "companion" {
  project      = var.project_id
  account_id   = "${var.name_prefix}-companion"
  display_name = "CMBS companion"
  description  = "Runs the companion's machines"
}

resource "google_project_iam_member" "companion_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.companion.member
}

# --- The store: this database only, for all programs ---

resource "google_project_iam_member" "store" {
  for_each = local.programs

  project = var.project_id
  role    = "roles/datastore.user"
  member  = each.value

  condition {
    title       = "${var.name_prefix}-database"
    description = "Other databases of the project are none of CMBS's business"
    expression  = "resource.type == \"firestore.googleapis.com/Database\" && resource.name == \"projects/${var.project_id}/databases/${var.database}\""
  }
}

# --- Topics ---
# CMBS creates topics at run time, and IAM conditions do not know their names, so these roles hold for the project. CMBS
# should therefore have a project of its own.

resource "google_project_iam_custom_role" "publisher" {
  project     = var.project_id
  role_id     = "${local.role_prefix}_publisher"
  title       = "CMBS publisher"
  description = "Make topics and subscriptions on first use and publish; read no message"
  permissions = local.topic_permissions
}

resource "google_project_iam_member" "publisher" {
  for_each = setintersection(var.accesses, ["bus"])

  project = var.project_id
  role    = google_project_iam_custom_role.publisher.name
  member  = google_service_account.functions[each.key].member
}

resource "google_project_iam_custom_role" "companion" {
  project     = var.project_id
  role_id     = "${local.role_prefix}_companion"
  title       = "CMBS companion"
  description = "Keep members' subscriptions as their topics say, and read them where delivery is pull"
  permissions = concat(local.topic_permissions, [
    # A pulling companion notices a deleted subscription; for push, it must list the subscriptions.
    var.topic_delivery == "pull" ? "pubsub.subscriptions.consume" : "pubsub.subscriptions.list",
  ])
}

resource "google_project_iam_member" "companion_topics" {
  project = var.project_id
  role    = google_project_iam_custom_role.companion.name
  member  = google_service_account.companion.member
}

# Pub/Sub's own account acknowledges dead letters on the source subscription, and members' subscriptions change at run
# time.
resource "google_project_iam_member" "pubsub_agent_subscriber" {
  project = var.project_id
  role    = "roles/pubsub.subscriber"
  member  = local.pubsub_agent
}

# --- Push delivery: the identity under which Pub/Sub calls a function ---

resource "google_service_account" "push" {
  count = var.topic_delivery == "push" ? 1 : 0

  project      = var.project_id
  account_id   = "${var.name_prefix}-push"
  display_name = "CMBS push delivery"
  description  = "Pub/Sub calls the function that it pushes to as this account, which may do nothing else"
}

# Needed in projects whose Pub/Sub agent was created before April 2021, and harmless in others, on this one account.
resource "google_service_account_iam_member" "push_tokens" {
  count = var.topic_delivery == "push" ? 1 : 0

  service_account_id = google_service_account.push[0].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

# Creating a subscription that pushes as an account needs the right to act as that account.
resource "google_service_account_iam_member" "push_act_as" {
  for_each = var.topic_delivery == "push" ? { for who, member in local.programs : who => member if contains(["bus", "host"], who) } : {}

  service_account_id = google_service_account.push[0].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

# --- Builds of functions ---

resource "google_service_account" "build" {
  project      = var.project_id
  account_id   = "${var.name_prefix}-build"
  display_name = "CMBS function builds"
  description  = "Cloud Build makes the functions' containers as this account, not as the project's default one"
}

resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

# --- Secrets, one by one ---

resource "google_secret_manager_secret_iam_member" "readers" {
  for_each = local.secret_readers

  project   = var.project_id
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = local.programs[each.value.reader]
}

# The password of the first administrator: for the companion, and for no function.
resource "google_secret_manager_secret_iam_member" "admin_password" {
  count = var.admin_password_secret == null ? 0 : 1

  project   = var.project_id
  secret_id = var.admin_password_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.companion.member
}
