# Metrics and alerts from the product's log. A JSON line of a function arrives parsed; a line of a companion's container
# may arrive as text, depending on the host's logging agent, so the filters accept both.

locals {
  event = {
    for event in ["dead_letter", "lease_held", "lease_lost"] :
    event => "(jsonPayload.event=\"${event}\" OR jsonPayload.message:\"\\\"event\\\":\\\"${event}\\\"\")"
  }

  sources = "resource.type=(\"cloud_run_revision\" OR \"gce_instance\")"
}

# --- Traffic ---
# The counters of the local stack's `/metrics`. Instances of functions come and go, so their metrics cannot be scraped.

locals {
  traffic = {
    requests = {
      event       = "request"
      description = "Answers of the functions, by function and status"
      labels      = ["function", "status"]
    }
    deliveries = {
      event       = "delivery"
      description = "Messages sent and received, by layer, direction and outcome"
      labels      = ["layer", "direction", "outcome"]
    }
  }
}

resource "google_logging_metric" "traffic" {
  for_each = local.traffic

  project          = var.project_id
  name             = "${var.name_prefix}-${each.key}"
  description      = each.value.description
  filter           = "${local.sources} AND jsonPayload.event=\"${each.value.event}\""
  label_extractors = { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "CMBS ${each.key}"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }
}

# --- Dead letters ---

resource "google_logging_metric" "dead_letters" {
  project     = var.project_id
  name        = "${var.name_prefix}-dead-letters"
  description = "Messages that CMBS gave up, one by one"
  filter      = "${local.sources} AND ${local.event.dead_letter}"

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "CMBS dead letters"
  }
}

# An alert on log lines: an alert on a metric that is minutes old is refused, so the first apply would fail.
resource "google_monitoring_alert_policy" "dead_letters" {
  project               = var.project_id
  display_name          = "CMBS: a message was given up"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "A line with the event dead_letter"
    condition_matched_log {
      filter = "${local.sources} AND ${local.event.dead_letter}"
    }
  }

  alert_strategy {
    auto_close = "86400s"
    notification_rate_limit {
      period = "900s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      CMBS gave a message up. `GET /cmbs/message/dead_letter/` lists those that were sent here, with the reason; a POST with
      `?action=resend` on one of them sends it again. What Pub/Sub gave up is kept for 31 days in
      `${var.dead_letter_subscription}` (`gcloud pubsub subscriptions pull`).
    EOT
  }
}

resource "google_monitoring_alert_policy" "dead_letters_kept" {
  project               = var.project_id
  display_name          = "CMBS: dead letters wait for an operator"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "Messages in ${var.dead_letter_subscription}"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"pubsub_subscription\"",
        "resource.labels.subscription_id = \"${var.dead_letter_subscription}\"",
        "metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Pub/Sub gave these up after the last attempt. Read them with `gcloud pubsub subscriptions pull ${var.dead_letter_subscription} --limit=10`; with `--auto-ack` they are gone. After 31 days they are gone by themselves."
  }
}

# --- Delivery ---

resource "google_monitoring_alert_policy" "oldest_unacked" {
  project               = var.project_id
  display_name          = "CMBS: topic messages are not read"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "Age of the oldest message that a member did not acknowledge"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"pubsub_subscription\"",
        "resource.labels.subscription_id = starts_with(\"${var.topic_prefix}.\")",
        "resource.labels.subscription_id != \"${var.dead_letter_subscription}\"",
        "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = var.thresholds.oldest_unacked_seconds
      duration        = "300s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "A member's subscription falls behind: the member is suspended, its inbox is full, or the companion (pull) or the function that is pushed to does not keep up. The subscription's name tells the member."
  }
}

# --- The endpoint ---

resource "google_monitoring_alert_policy" "errors" {
  project               = var.project_id
  display_name          = "CMBS: the endpoint fails"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "Share of 5xx answers"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"https_lb_rule\"",
        "resource.labels.url_map_name = \"${var.url_map}\"",
        "metric.type = \"loadbalancing.googleapis.com/https/request_count\"",
        "metric.labels.response_code_class = 500",
      ])
      denominator_filter = join(" AND ", [
        "resource.type = \"https_lb_rule\"",
        "resource.labels.url_map_name = \"${var.url_map}\"",
        "metric.type = \"loadbalancing.googleapis.com/https/request_count\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = var.thresholds.error_ratio
      duration        = "300s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "`GET /readyz` at the endpoint says which of store and companion does not answer. 503 on actions only: no companion. 504: Firestore or Pub/Sub."
  }
}

# --- The companions ---
# The holder of a shard's lease logs this once a minute. An operator must know when no companion does; if one of two
# companions is down, the instance group replaces it.

resource "google_logging_metric" "lease" {
  for_each = var.shards

  project     = var.project_id
  name        = "${var.name_prefix}-lease-${each.key}"
  description = "Lines by which a companion says that it holds the lease of shard ${each.key}"
  filter = join(" AND ", [
    "resource.type=\"gce_instance\"",
    local.event.lease_held,
    "(jsonPayload.shard=\"${each.key}\" OR jsonPayload.message:\"\\\"shard\\\":\\\"${each.key}\\\"\")",
  ])

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "CMBS lease of shard ${each.key}"
  }
}

resource "google_monitoring_alert_policy" "lease" {
  project               = var.project_id
  display_name          = "CMBS: no companion is ready"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.channels
  user_labels           = var.labels

  dynamic "conditions" {
    for_each = google_logging_metric.lease
    content {
      display_name = "Nobody holds the lease of shard ${conditions.key}"
      # PromQL, because it detects a metric that never existed, and does not need the metric at creation.
      condition_prometheus_query_language {
        query                     = "absent_over_time(logging_googleapis_com:user_${replace(conditions.value.name, "-", "_")}{monitored_resource=\"gce_instance\"}[${var.thresholds.lease_missing_minutes}m])"
        duration                  = "60s"
        evaluation_interval       = "60s"
        disable_metric_validation = true
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Members of the shard are unreachable, and actions on them answer 503 or wait as queued. Look at the two instance groups of the shard and at their containers' logs (`resource.type=\"gce_instance\"`)."
  }
}

# The other companion takes over, but an operator should find the cause. A lease that is given back causes no alert.
resource "google_monitoring_alert_policy" "lease_lost" {
  project               = var.project_id
  display_name          = "CMBS: a companion lost its shard"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.channels
  user_labels           = var.labels

  conditions {
    display_name = "A line with the event lease_lost"
    condition_matched_log {
      filter = "resource.type=\"gce_instance\" AND ${local.event.lease_lost}"
    }
  }

  alert_strategy {
    auto_close = "3600s"
    notification_rate_limit {
      period = "900s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "A companion could not renew its lease in time, closed its members' sockets, and another one takes the shard. The line has the reason: Firestore away, or the machine out of CPU."
  }
}
