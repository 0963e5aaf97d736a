# A separate module, since the companion's image must be in the repository before the rest can be created.

resource "google_artifact_registry_repository" "companion" {
  project       = var.project_id
  location      = var.region
  repository_id = "${var.name_prefix}-companion"
  description   = "Container images of the CMBS companion"
  format        = "DOCKER"
  labels        = var.labels

  # The companion runs by digest; a moving tag would mislead.
  docker_config {
    immutable_tags = true
  }
}
