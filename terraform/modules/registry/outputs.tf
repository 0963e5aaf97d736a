output "repository" {
  description = "Name of the repository of the companion's images."
  value       = google_artifact_registry_repository.companion.repository_id
}

output "url" {
  description = "Where the companion's image is pushed to."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.companion.repository_id}"
}
