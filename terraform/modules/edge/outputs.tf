output "address" {
  description = "Address that the domain's A record needs."
  value       = google_compute_global_address.endpoint.address
}

output "url_map" {
  description = "Name of the URL map, by which metrics tell this load balancer."
  value       = google_compute_url_map.https.name
}
