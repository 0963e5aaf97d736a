output "dead_letter_topic" {
  description = "Topic of what was given up."
  value       = google_pubsub_topic.dead_letters.name
}

output "dead_letter_subscription" {
  description = "Subscription in which an operator reads what was given up, for 31 days."
  value       = google_pubsub_subscription.keep.name
}

output "topics" {
  description = "Topics that were made beforehand."
  value       = sort([for topic in google_pubsub_topic.beforehand : topic.name])
}
