variable "project_id" {
  description = "Project whose APIs are turned on."
  type        = string
}
