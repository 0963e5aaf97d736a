variable "project_id" {
  description = "Project of the metrics and alerts."
  type        = string
}

variable "name_prefix" {
  description = "First part of the metrics' names."
  type        = string
}

variable "labels" {
  description = "Labels of the alerts."
  type        = map(string)
}

variable "channels" {
  description = "Notification channels; without one, incidents only show in the console."
  type        = list(string)
}

variable "thresholds" {
  description = "When an alert goes off."
  type = object({
    oldest_unacked_seconds = number
    error_ratio            = number
    lease_missing_minutes  = number
  })
}

variable "topic_prefix" {
  description = "First part of the name of every subscription."
  type        = string
}

variable "dead_letter_subscription" {
  description = "Subscription that keeps dead letters."
  type        = string
}

variable "url_map" {
  description = "URL map of the endpoint."
  type        = string
}

variable "shards" {
  description = "Names of the shards."
  type        = set(string)
}
