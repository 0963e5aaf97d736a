output "services" {
  description = "Names of the Cloud Run services behind the functions, by the functions' names in routes.json."
  value       = { for name, function in google_cloudfunctions2_function.function : name => function.name }
}

output "urls" {
  description = "Each function's own URL."
  value       = { for name, function in google_cloudfunctions2_function.function : name => function.url }
}

output "source_bucket" {
  description = "Bucket of the functions' archives."
  value       = google_storage_bucket.sources.name
}
