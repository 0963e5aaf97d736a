variable "project_id" {
  description = "Project of the repository."
  type        = string
}

variable "region" {
  description = "Region of the repository."
  type        = string
}

variable "name_prefix" {
  description = "First part of the repository's name."
  type        = string
}

variable "labels" {
  description = "Labels of the repository."
  type        = map(string)
}
