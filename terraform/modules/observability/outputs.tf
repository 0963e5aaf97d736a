output "metrics" {
  description = "Log-based metrics, for dashboards."
  value = concat(
    [google_logging_metric.dead_letters.name],
    sort([for metric in google_logging_metric.lease : metric.name]),
  )
}
