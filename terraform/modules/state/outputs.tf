output "database" {
  description = "Name of the database."
  value       = google_firestore_database.cmbs.name
  # The product's queries fail without their indexes.
  depends_on = [google_firestore_field.rule, google_firestore_index.composite]
}
