output "database" {
  description = "Name of the database."
  value       = google_firestore_database.cmbs.name
  # Without its indexes the product's queries fail.
  depends_on = [google_firestore_field.rule, google_firestore_index.composite]
}
