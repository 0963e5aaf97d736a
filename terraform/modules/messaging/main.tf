locals {
  pubsub_agent = "serviceAccount:service-${var.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# Members' topics and subscriptions come and go with the members, so CMBS makes them. Only what outlives all members
# is here: where messages go that were given up.
resource "google_pubsub_topic" "dead_letters" {
  project = var.project_id
  name    = var.dead_letters.topic
  labels  = var.labels
}

# Without this grant Pub/Sub would retry for ever instead of giving up.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project_id
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

# A topic without a subscription forgets. An operator reads here what was given up; nobody else does.
resource "google_pubsub_subscription" "keep" {
  project = var.project_id
  name    = var.dead_letters.keep
  topic   = google_pubsub_topic.dead_letters.id
  labels  = var.labels

  message_retention_duration = "2678400s" # 31 days, the longest there is
  ack_deadline_seconds       = 600

  # By default a subscription that nobody reads for 31 days is deleted, which here means: when all goes well.
  expiration_policy {
    ttl = ""
  }
}

# CMBS reads the same letters to count and log them (module observability alerts on that).
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
