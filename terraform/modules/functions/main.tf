# --- Sources and builds ---

resource "google_storage_bucket" "sources" {
  project  = var.project_id
  name     = "${var.project_id}-${var.name_prefix}-functions"
  location = var.region
  labels   = var.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  # `npm run build` creates the content again.
  force_destroy = true
}

# The name has the release, so that a new release redeploys without Terraform reading the archives for its plan.
resource "google_storage_bucket_object" "source" {
  for_each = var.functions

  bucket = google_storage_bucket.sources.name
  name   = "${var.release}/${each.key}.zip"
  source = "${var.directory}/${each.key}.zip"

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_artifact_registry_repository" "builds" {
  project       = var.project_id
  location      = var.region
  repository_id = "${var.name_prefix}-functions"
  description   = "Containers that Cloud Build makes of the CMBS functions"
  format        = "DOCKER"
  labels        = var.labels
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = var.project_id
  location   = google_artifact_registry_repository.builds.location
  repository = google_artifact_registry_repository.builds.name
  role       = "roles/artifactregistry.writer"
  member     = var.build_account.member
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.sources.name
  role   = "roles/storage.objectViewer"
  member = var.build_account.member
}

# Cloud Functions copies a source into its own bucket before it builds; this configuration cannot grant rights on that
# bucket.
resource "google_project_iam_member" "build_copies" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = var.build_account.member

  condition {
    title       = "${var.name_prefix}-function-sources"
    description = "Only the copies that Cloud Functions makes"
    expression  = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${var.project_number}-${var.region}\")"
  }
}

# --- Functions: one per element of routes.json ---

resource "google_cloudfunctions2_function" "function" {
  for_each = var.functions

  project     = var.project_id
  location    = var.region
  name        = each.value.deployed_name
  description = each.value.summary
  labels      = var.labels

  build_config {
    runtime           = var.runtime
    entry_point       = each.value.entry_point
    docker_repository = google_artifact_registry_repository.builds.id
    service_account   = var.build_account.name

    source {
      storage_source {
        bucket = google_storage_bucket.sources.name
        object = google_storage_bucket_object.source[each.key].name
      }
    }
  }

  service_config {
    available_memory                 = each.value.memory
    available_cpu                    = tostring(each.value.cpu)
    max_instance_request_concurrency = each.value.concurrency
    min_instance_count               = each.value.min_instances
    max_instance_count               = each.value.max_instances
    timeout_seconds                  = each.value.timeout

    # Only the load balancer, which checks addresses and rates, and Google's own services (Pub/Sub) reach the function.
    ingress_settings               = "ALLOW_INTERNAL_AND_GCLB"
    all_traffic_on_latest_revision = true
    service_account_email          = var.accounts[each.value.access]

    # Only calls to the companion, which has a private address, use the connector.
    vpc_connector                 = contains(["companion", "bus"], each.value.access) ? var.connector : null
    vpc_connector_egress_settings = contains(["companion", "bus"], each.value.access) ? "PRIVATE_RANGES_ONLY" : null

    environment_variables = merge(
      var.environment,
      var.topic_delivery == "push" ? { CMBS_PUSH_SERVICE_ACCOUNT = var.push_account } : {},
    )

    dynamic "secret_environment_variables" {
      for_each = { for name, secret in var.secrets : name => secret if contains(secret.readers, each.value.access) }
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version
      }
    }
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build_copies,
    google_storage_bucket_iam_member.build,
  ]
}

# --- Callers: a function of the second generation is a Cloud Run service of the same name ---

locals {
  # The keys must be known at planning; an account's address is not.
  invokers = { for member in var.invokers : member => member }
  # Only Pub/Sub calls the function for pushes; with pull, no account may call it.
  pushers = var.topic_delivery == "push" ? { push = "serviceAccount:${var.push_account}" } : {}
  callers = { for name, function in var.functions : name => function.access == "pushed" ? local.pushers : local.invokers }

  invocations = merge([
    for name, callers in local.callers : {
      for key, member in callers : "${name}/${key}" => { function = name, member = member }
    }
  ]...)
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invocations

  project  = var.project_id
  location = var.region
  name     = google_cloudfunctions2_function.function[each.value.function].name
  role     = "roles/run.invoker"
  member   = each.value.member
}
