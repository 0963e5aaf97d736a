variable "project_id" {
  description = "Project of the accounts."
  type        = string
}

variable "project_number" {
  description = "Number of that project, in the names of Google's own service agents."
  type        = string
}

variable "name_prefix" {
  description = "First part of the accounts' names."
  type        = string
}

variable "accesses" {
  description = "The kinds of access that functions have; each gets an account."
  type        = set(string)
}

variable "database" {
  description = "The Firestore database that the accounts may use, and no other."
  type        = string
}

variable "topic_delivery" {
  description = "pull: the companion consumes subscriptions; push: Pub/Sub calls a function, as an account of its own."
  type        = string
}

variable "secrets" {
  description = "Environment variable to secret, and who reads it: kinds of access of functions, or `host` for the companion."
  type = map(object({
    secret  = string
    version = string
    readers = set(string)
  }))
}

variable "admin_password_secret" {
  description = "Secret with the password of the first administrator, which the companion alone reads; null: there is none."
  type        = string
  default     = null
}
