locals {
  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# CMBS creates members' topics and subscriptions at run time. This module has the topic and subscriptions of dead letters,
# which outlive all members.
resource "google_pubsub_topic" "dead_letters" {
  project = var.project_id
  name    = var.dead_letters.topic
  labels  = var.labels
}

# Without this grant Pub/Sub would retry forever instead of giving up.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project_id
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

# A topic without a subscription keeps nothing. Only an operator reads the dead letters here.
resource "google_pubsub_subscription" "keep" {
  project = var.project_id
  name    = var.dead_letters.keep
  topic   = google_pubsub_topic.dead_letters.id
  labels  = var.labels

  message_retention_duration = "2678400s" # 31 days, the longest there is
  ack_deadline_seconds       = 600

  # By default a subscription without a reader for 31 days is deleted, and without dead letters there is no reader.
  expiration_policy {
    ttl = ""
  }
}

# CMBS reads the same dead letters to count and log them (module observability alerts on that).
resource "google_pubsub_subscription" "watch" {
  project = var.project_id
  name    = var.dead_letters.watch
  topic   = google_pubsub_topic.dead_letters.id
  labels  = var.labels

  message_retention_duration = "604800s"
  ack_deadline_seconds       = 60

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dynamic "push_config" {
    for_each = var.push == null ? [] : [var.push]
    content {
      push_endpoint = push_config.value.url
      oidc_token {
        service_account_email = push_config.value.account
        audience              = push_config.value.audience
      }
    }
  }
}

resource "google_pubsub_topic" "beforehand" {
  for_each = var.topics

  project = var.project_id
  name    = each.key
  labels  = var.labels
}
