variable "project_id" {
  description = "Project of the companions."
  type        = string
}

variable "region" {
  description = "Region of the companions."
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

variable "shards" {
  description = "Shards of members: zones of the two companions of each, and their machine type."
  type = map(object({
    primary_zone = string
    standby_zone = string
    machine_type = string
  }))
}

variable "network" {
  description = "Address ranges of the companions and of the functions' connector."
  type = object({
    companions = string
    connector  = string
  })
}

variable "member_ports" {
  description = "First and last port of members' sockets."
  type = object({
    first = number
    last  = number
  })
}

variable "control_port" {
  description = "Port of the control endpoint, health and metrics."
  type        = number
}

variable "member_ranges" {
  description = "Addresses that may connect to members' sockets."
  type        = list(string)
}

variable "image" {
  description = "Container image of the companion, by digest."
  type        = string
}

variable "image_repository" {
  description = "Artifact Registry repository of the companion's images."
  type        = string
}

variable "host_image" {
  description = "Container-Optimized OS image of the machines."
  type        = string
}

variable "account" {
  description = "E-mail address of the companion's account."
  type        = string
}

variable "control_callers" {
  description = "E-mail addresses of the accounts that may call the control endpoint."
  type        = list(string)
}

variable "environment" {
  description = "Environment that functions and companions share."
  type        = map(string)
}

variable "topic_delivery" {
  description = "How members' topic messages are delivered: pull or push."
  type        = string
}

variable "push_account" {
  description = "E-mail address of the account that Pub/Sub pushes as; null when the companion pulls."
  type        = string
}

variable "secrets" {
  description = "Environment variable to secret; those with the reader `host` are read by the companion's machine when it boots."
  type = map(object({
    secret  = string
    version = string
    readers = set(string)
  }))
}

variable "admin_password_secret" {
  description = "Secret with the password of the first administrator, which the container gets as a file; null: there is none."
  type        = string
  default     = null
}
