variable "routes" {
  description = "The functions, as routes.json lists them: in the order in which they are tried."
  type = list(object({
    name       = string
    entryPoint = string
    summary    = string
    access     = string
    paths      = list(string)
    actions    = optional(list(string), [])
    flag       = optional(string)
  }))

  validation {
    condition     = length(distinct([for route in var.routes : route.name])) == length(var.routes)
    error_message = "routes.json names a function twice."
  }

  # The access of a function, besides the store, decides its service account (module identity).
  validation {
    condition     = alltrue([for route in var.routes : contains(["store", "companion", "bus", "pushed"], route.access)])
    error_message = "routes.json has an access that is none of store, companion, bus, pushed."
  }
}

variable "firestore" {
  description = "Indexes, exemptions and expiry of the database, as firestore.json lists them, by collection group."
  type = map(object({
    ttl        = optional(string)
    exempt     = optional(list(string), [])
    ascending  = optional(list(string), [])
    descending = optional(list(string), [])
    composite  = optional(list(list(string)), [])
  }))
}

variable "project_id" {
  description = "Project that is deployed into."
  type        = string
}

variable "project_number" {
  description = "Number of that project."
  type        = string
}

variable "region" {
  description = "Region of everything regional."
  type        = string
}

variable "name_prefix" {
  description = "First part of the name of every resource."
  type        = string
}

variable "domain" {
  description = "Host name of the endpoint."
  type        = string
}

variable "push_through_load_balancer" {
  description = "Whether the load balancer routes to the functions that Pub/Sub pushes to."
  type        = bool
}

variable "function_settings" {
  description = "Size of a function for which `instances` says nothing."
  type = object({
    memory        = string
    cpu           = number
    concurrency   = number
    min_instances = number
    max_instances = number
    timeout       = number
  })
}

variable "instances" {
  description = "Sizes of single functions, by their names in routes.json."
  type = map(object({
    memory        = optional(string)
    cpu           = optional(number)
    concurrency   = optional(number)
    min_instances = optional(number)
    max_instances = optional(number)
  }))
}

variable "min_instances_budget" {
  description = "Largest sum of the minimum instances of all functions."
  type        = number
}

variable "shards" {
  description = "Shards of members, each with a companion of its own."
  type = map(object({
    primary_zone = optional(string)
    standby_zone = optional(string)
    machine_type = optional(string, "e2-small")
  }))
}

variable "member_ports" {
  description = "First and last port of members' sockets."
  type        = object({ first = number, last = number })
}

variable "network_range" {
  description = "A /20 for the companions and the functions' connector."
  type        = string
}

variable "topic_prefix" {
  description = "First part of the name of every topic and subscription."
  type        = string
}

variable "topic_delivery" {
  description = "How members' topic messages are delivered: pull or push."
  type        = string
}

variable "topics" {
  description = "CMBS topics to make beforehand."
  type = list(object({
    name   = string
    layers = optional(set(string), ["l32", "l4"])
  }))
}

variable "database" {
  description = "Name of the Firestore database."
  type        = string
}

variable "settings" {
  description = "The product's own settings; null leaves its default."
  type = object({
    extensions        = optional(list(string))
    allowed_hosts     = optional(list(string))
    allowed_origins   = optional(list(string))
    ignored_query     = optional(list(string))
    discovery         = optional(string)
    address_ranges    = optional(list(string))
    queue_limit       = optional(number)
    inbox_limit       = optional(number)
    inbox_bytes       = optional(number)
    send_wait_seconds = optional(number)
    max_body_bytes    = optional(number)
    log               = optional(string)
  })
}

variable "identities" {
  description = "How callers prove who they are."
  type        = list(string)
}

variable "administrators" {
  description = "Names of users who may do everything."
  type        = list(string)
}

variable "oidc_issuers" {
  description = "Issuers of OpenID Connect, as the program reads them."
  type        = any
}

variable "open_to_everyone" {
  description = "Whether everybody may do everything."
  type        = bool
}

variable "secrets" {
  description = "Names of the environment variables that come from Secret Manager."
  type        = set(string)
}
