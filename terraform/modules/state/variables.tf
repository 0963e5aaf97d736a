variable "project_id" {
  description = "Project of the database."
  type        = string
}

variable "database" {
  description = "Name of the database."
  type        = string
}

variable "location" {
  description = "Firestore location, for good: a database cannot move."
  type        = string
}

variable "point_in_time_recovery" {
  description = "Whether the last seven days can be read back."
  type        = bool
}

variable "backup_days" {
  description = "Days that daily backups are kept; 0 makes none."
  type        = number
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
}

variable "fields" {
  description = "Fields whose indexing or expiry differs from the default."
  type = map(object({
    group   = string
    field   = string
    orders  = list(string)
    expires = bool
  }))
}

variable "indexes" {
  description = "Composite indexes, all ascending."
  type = map(object({
    group  = string
    fields = list(string)
  }))
}
