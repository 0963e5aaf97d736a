resource "google_firestore_database" "cmbs" {
  project     = var.project_id
  name        = var.database
  location_id = var.location
  type        = "FIRESTORE_NATIVE"

  # Before it commits, a transaction checks the documents that it only read again, under locks.
  concurrency_mode = "PESSIMISTIC"

  point_in_time_recovery_enablement = var.point_in_time_recovery ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"

  # Both ways to delete all data need the same deliberate step: apply deletion_protection = false.
  delete_protection_state = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = var.deletion_protection ? "ABANDON" : "DELETE"
}

resource "google_firestore_backup_schedule" "daily" {
  count = var.backup_days > 0 ? 1 : 0

  project   = var.project_id
  database  = google_firestore_database.cmbs.name
  retention = "${var.backup_days * 86400}s"

  daily_recurrence {}
}

# An index entry costs a write, so a field is indexed only in the direction that a query needs.
resource "google_firestore_field" "rule" {
  for_each = var.fields

  project    = var.project_id
  database   = google_firestore_database.cmbs.name
  collection = each.value.group
  field      = each.value.field

  index_config {
    dynamic "indexes" {
      for_each = each.value.orders
      content {
        order       = indexes.value
        query_scope = "COLLECTION"
      }
    }
  }

  # Firestore deletes a document within about a day after the time in this field; until then the product hides it.
  dynamic "ttl_config" {
    for_each = each.value.expires ? [true] : []
    content {}
  }
}

resource "google_firestore_index" "composite" {
  for_each = var.indexes

  project     = var.project_id
  database    = google_firestore_database.cmbs.name
  collection  = each.value.group
  query_scope = "COLLECTION"

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value
      order      = "ASCENDING"
    }
  }
}
