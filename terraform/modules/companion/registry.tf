resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  location      = var.region
  repository_id = "${var.name_prefix}-companion"
  description   = "Container images of the CMBS companion"
  format        = "DOCKER"
  labels        = var.labels

  # The companion runs by digest; a tag that moves would only mislead.
  docker_config {
    immutable_tags = true
  }
}

resource "google_artifact_registry_repository_iam_member" "companion" {
  project    = var.project_id
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${var.account}"
}
