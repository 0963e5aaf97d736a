# --- Backends: one per function, since only a URL map can distinguish actions ---

resource "google_compute_region_network_endpoint_group" "function" {
  for_each = var.services

  project               = var.project_id
  region                = var.region
  name                  = "${var.name_prefix}-${each.key}"
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = each.value
  }
}

resource "google_compute_backend_service" "function" {
  for_each = var.services

  project               = var.project_id
  name                  = "${var.name_prefix}-${each.key}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.clients.id

  backend {
    group = google_compute_region_network_endpoint_group.function[each.key].id
  }

  # The functions log every request that reaches them. This log shows requests that the security policy refused; a sample
  # is enough, and keeps an attacker from raising the bill.
  log_config {
    enable      = true
    sample_rate = 0.1
  }

  # Serverless backends support neither health checks nor timeouts.
}

# --- Clients and their rates ---

locals {
  # A rule has at most ten ranges.
  client_rules = { for at, ranges in chunklist(var.client_ranges, 10) : 1000 + at => ranges }
}

resource "google_compute_security_policy" "clients" {
  project     = var.project_id
  name        = "${var.name_prefix}-clients"
  description = "Client addresses that may call CMBS, and how often each"

  # Requests within the rate are allowed, so these rules are also the list of clients.
  dynamic "rule" {
    for_each = local.client_rules
    content {
      priority    = rule.key
      action      = "throttle"
      description = "Clients, each within its rate"

      match {
        versioned_expr = "SRC_IPS_V1"
        config {
          src_ip_ranges = rule.value
        }
      }

      rate_limit_options {
        conform_action = "allow"
        exceed_action  = "deny(429)"
        enforce_on_key = "IP"
        rate_limit_threshold {
          count        = var.rate_limit.requests
          interval_sec = var.rate_limit.seconds
        }
      }
    }
  }

  # Pub/Sub pushes from unlisted addresses of Google's, with a token that the function checks.
  dynamic "rule" {
    for_each = var.push_path == null ? [] : [var.push_path]
    content {
      priority    = 900
      action      = "allow"
      description = "Push delivery, which carries a signed token"
      match {
        expr {
          expression = "request.path.startsWith(\"${rule.value}/\")"
        }
      }
    }
  }

  rule {
    priority    = 2147483647
    action      = "deny(403)"
    description = "Nobody else"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}

# --- The URL map, as layout/routing.tf decides ---

resource "google_compute_url_map" "https" {
  project     = var.project_id
  name        = "${var.name_prefix}-https"
  description = "CMBS: path, ?action= and ?send to function"

  # Requests for any other host name are redirected to the endpoint's.
  default_url_redirect {
    host_redirect          = var.domain
    https_redirect         = true
    redirect_response_code = "PERMANENT_REDIRECT"
    strip_query            = false
  }

  host_rule {
    hosts        = [var.domain]
    path_matcher = "functions"
  }

  path_matcher {
    name            = "functions"
    default_service = google_compute_backend_service.function[var.catch_all].id

    dynamic "route_rules" {
      for_each = var.url_rules
      content {
        priority = route_rules.value.priority
        service  = google_compute_backend_service.function[route_rules.value.function].id

        dynamic "match_rules" {
          for_each = route_rules.value.matches
          content {
            full_path_match     = match_rules.value.template ? null : match_rules.value.path
            path_template_match = match_rules.value.template ? match_rules.value.path : null

            dynamic "query_parameter_matches" {
              for_each = match_rules.value.parameter == null ? [] : [match_rules.value]
              content {
                name          = query_parameter_matches.value.parameter
                exact_match   = query_parameter_matches.value.value == "*" ? null : query_parameter_matches.value.value
                present_match = query_parameter_matches.value.value == "*" ? true : null
              }
            }
          }
        }
      }
    }
  }
}

# --- Front ends ---

resource "google_compute_global_address" "endpoint" {
  project     = var.project_id
  name        = "${var.name_prefix}-endpoint"
  description = "The address that the DNS record of ${var.domain} needs"
  labels      = var.labels
}

resource "google_compute_managed_ssl_certificate" "endpoint" {
  project = var.project_id
  # A certificate cannot change its domain, and two cannot share a name while one replaces the other.
  name = "${var.name_prefix}-${substr(sha256(var.domain), 0, 8)}"

  managed {
    domains = [var.domain]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "modern" {
  project         = var.project_id
  name            = "${var.name_prefix}-modern"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_target_https_proxy" "https" {
  project          = var.project_id
  name             = "${var.name_prefix}-https"
  url_map          = google_compute_url_map.https.id
  ssl_certificates = [google_compute_managed_ssl_certificate.endpoint.id]
  ssl_policy       = google_compute_ssl_policy.modern.id
}

resource "google_compute_global_forwarding_rule" "https" {
  project               = var.project_id
  name                  = "${var.name_prefix}-https"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.endpoint.id
  ip_protocol           = "TCP"
  port_range            = "443"
  target                = google_compute_target_https_proxy.https.id
  labels                = var.labels
}

# Plain HTTP is redirected to HTTPS.
resource "google_compute_url_map" "http" {
  project     = var.project_id
  name        = "${var.name_prefix}-http"
  description = "CMBS: HTTP to HTTPS"

  default_url_redirect {
    host_redirect          = var.domain
    https_redirect         = true
    redirect_response_code = "PERMANENT_REDIRECT"
    strip_query            = false
  }
}

resource "google_compute_target_http_proxy" "http" {
  project = var.project_id
  name    = "${var.name_prefix}-http"
  url_map = google_compute_url_map.http.id
}

resource "google_compute_global_forwarding_rule" "http" {
  project               = var.project_id
  name                  = "${var.name_prefix}-http"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.endpoint.id
  ip_protocol           = "TCP"
  port_range            = "80"
  target                = google_compute_target_http_proxy.http.id
  labels                = var.labels
}
