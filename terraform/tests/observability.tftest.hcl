# Alerts for an operator.

mock_provider "google" {}

run "observability" {
  module {
    source = "./modules/observability"
  }

  variables {
    name_prefix              = "cmbs"
    labels                   = {}
    channels                 = ["projects/example-project/notificationChannels/1"]
    thresholds               = { oldest_unacked_seconds = 600, error_ratio = 0.05, lease_missing_minutes = 5 }
    topic_prefix             = "cmbs"
    dead_letter_subscription = "cmbs.dead-letter.keep"
    url_map                  = "cmbs-https"
    shards                   = ["main", "far-away"]
  }

  assert {
    condition     = strcontains(google_logging_metric.dead_letters.filter, "jsonPayload.event=\"dead_letter\"")
    error_message = "Dead letters are counted by the lines that tell of them."
  }

  assert {
    condition = (
      strcontains(google_logging_metric.traffic["requests"].filter, "jsonPayload.event=\"request\"")
      && google_logging_metric.traffic["requests"].label_extractors == tomap({ function = "EXTRACT(jsonPayload.function)", status = "EXTRACT(jsonPayload.status)" })
      && google_logging_metric.traffic["deliveries"].label_extractors == tomap({ layer = "EXTRACT(jsonPayload.layer)", direction = "EXTRACT(jsonPayload.direction)", outcome = "EXTRACT(jsonPayload.outcome)" })
    )
    error_message = "Requests and deliveries are counted by the lines that tell of each."
  }

  assert {
    condition     = one(google_monitoring_alert_policy.dead_letters.conditions).condition_matched_log[0].filter == google_logging_metric.dead_letters.filter
    error_message = "What is counted is what is told."
  }

  assert {
    condition     = strcontains(one(google_monitoring_alert_policy.dead_letters_kept.conditions).condition_threshold[0].filter, "subscription_id = \"cmbs.dead-letter.keep\"")
    error_message = "Dead letters that wait are noticed."
  }

  assert {
    condition = (
      strcontains(one(google_monitoring_alert_policy.oldest_unacked.conditions).condition_threshold[0].filter, "starts_with(\"cmbs.\")")
      && strcontains(one(google_monitoring_alert_policy.oldest_unacked.conditions).condition_threshold[0].filter, "!= \"cmbs.dead-letter.keep\"")
      && one(google_monitoring_alert_policy.oldest_unacked.conditions).condition_threshold[0].threshold_value == 600
    )
    error_message = "A subscription that is not read is noticed, but not the one that waits for an operator."
  }

  assert {
    condition = (
      strcontains(one(google_monitoring_alert_policy.errors.conditions).condition_threshold[0].filter, "response_code_class = 500")
      && !strcontains(one(google_monitoring_alert_policy.errors.conditions).condition_threshold[0].denominator_filter, "response_code_class")
      && one(google_monitoring_alert_policy.errors.conditions).condition_threshold[0].threshold_value == 0.05
    )
    error_message = "The share of 5xx is of all answers."
  }

  assert {
    condition = [
      for condition in google_monitoring_alert_policy.lease.conditions : condition.condition_prometheus_query_language[0].query
      ] == [
      "absent_over_time(logging_googleapis_com:user_cmbs_lease_far_away{monitored_resource=\"gce_instance\"}[5m])",
      "absent_over_time(logging_googleapis_com:user_cmbs_lease_main{monitored_resource=\"gce_instance\"}[5m])",
    ]
    error_message = "Each shard is missed when nobody holds it."
  }

  assert {
    condition     = strcontains(google_logging_metric.lease["main"].filter, "jsonPayload.event=\"lease_held\"") && strcontains(google_logging_metric.lease["main"].filter, "jsonPayload.shard=\"main\"")
    error_message = "Who holds a lease says so, and of which shard."
  }

  assert {
    condition = alltrue([
      for policy in [
        google_monitoring_alert_policy.dead_letters, google_monitoring_alert_policy.dead_letters_kept, google_monitoring_alert_policy.oldest_unacked,
        google_monitoring_alert_policy.errors, google_monitoring_alert_policy.lease, google_monitoring_alert_policy.lease_lost,
      ] : policy.notification_channels == tolist(["projects/example-project/notificationChannels/1"]) && length(policy.documentation[0].content) > 0
    ])
    error_message = "Every alert reaches somebody and says what to do."
  }
}
