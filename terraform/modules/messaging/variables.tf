variable "project_id" {
  description = "Project of the topics."
  type        = string
}

variable "project_number" {
  description = "Number of that project, in the name of Pub/Sub's service agent."
  type        = string
}

variable "dead_letters" {
  description = "Names of the dead-letter topic and its two subscriptions."
  type = object({
    topic = string
    keep  = string
    watch = string
  })
}

variable "topics" {
  description = "Names of Pub/Sub topics to make beforehand; CMBS makes all others on first use."
  type        = set(string)
}

variable "push" {
  description = "Where Pub/Sub pushes dead letters to; null when the companion pulls."
  type = object({
    url      = string
    audience = string
    account  = string
  })
}

variable "labels" {
  description = "Labels of the topics and subscriptions."
  type        = map(string)
}
