# A module of its own, since the companion's image has to be here before the rest can be made.

resource "google_artifact_registry_repository" "companion" {
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
