variable "project_id" {
  description = "Project of the functions."
  type        = string
}

variable "project_number" {
  description = "Number of that project, in the name of the bucket that Google builds from."
  type        = string
}

variable "region" {
  description = "Region of the functions."
  type        = string
}

variable "name_prefix" {
  description = "First part of the names of the bucket and the repository."
  type        = string
}

variable "labels" {
  description = "Labels of everything here."
  type        = map(string)
}

variable "functions" {
  description = "The functions by their names in routes.json."
  type = map(object({
    deployed_name = string
    entry_point   = string
    summary       = string
    access        = string
    memory        = string
    cpu           = number
    concurrency   = number
    min_instances = number
    max_instances = number
    timeout       = number
  }))
}

variable "runtime" {
  description = "Node.js runtime of the functions."
  type        = string
}

variable "release" {
  description = "What is deployed, as part of the archives' names: another release is another object, and so a new build."
  type        = string
}

variable "directory" {
  description = "Directory with one archive per function, <name>.zip."
  type        = string
}

variable "environment" {
  description = "Environment of every function."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variable to secret, and which kinds of access get it."
  type = map(object({
    secret  = string
    version = string
    readers = set(string)
  }))
}

variable "accounts" {
  description = "E-mail addresses of the functions' accounts by kind of access."
  type        = map(string)
}

variable "build_account" {
  description = "Account that builds the functions."
  type = object({
    name   = string
    member = string
  })
}

variable "connector" {
  description = "VPC connector through which functions reach the companion."
  type        = string
}

variable "invokers" {
  description = "Who may call the functions behind the load balancer."
  type        = set(string)
}

variable "topic_delivery" {
  description = "How members' topic messages are delivered: pull or push."
  type        = string
}

variable "push_account" {
  description = "E-mail address of the account that Pub/Sub pushes as; null when the companion pulls."
  type        = string
}
