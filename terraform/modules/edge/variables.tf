variable "project_id" {
  description = "Project of the load balancer."
  type        = string
}

variable "region" {
  description = "Region of the functions."
  type        = string
}

variable "name_prefix" {
  description = "First part of the name of every resource."
  type        = string
}

variable "labels" {
  description = "Labels of what takes labels here."
  type        = map(string)
}

variable "domain" {
  description = "Host name of the endpoint; its certificate is issued once its DNS record points here."
  type        = string
}

variable "services" {
  description = "Cloud Run services of the functions that are routed to, by function."
  type        = map(string)
}

variable "catch_all" {
  description = "The function that takes what no rule does."
  type        = string
}

variable "url_rules" {
  description = "Rules of the URL map by priority; a match's parameter is null for any query, and its value `*` for any value."
  type = list(object({
    priority = number
    function = string
    matches = list(object({
      path      = string
      template  = bool
      parameter = string
      value     = string
    }))
  }))
}

variable "client_ranges" {
  description = "Addresses that may call the endpoint."
  type        = list(string)
}

variable "rate_limit" {
  description = "Requests that one client address may make in a number of seconds; above, it is answered 429."
  type = object({
    requests = number
    seconds  = number
  })
}

variable "push_path" {
  description = "Path prefix that Pub/Sub may push to through the load balancer; null when it does not."
  type        = string
}
