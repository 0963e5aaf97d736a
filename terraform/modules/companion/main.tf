# Exactly one companion holds a member's sockets, by a lease in the store, and an address cannot follow a lease to another
# machine. So each shard of members has one address with two companions behind it, active and standby. Only the holder of
# the lease is ready, and a passthrough load balancer sends all packets to the ready companion.

# --- The shard's address ---

resource "google_compute_address" "members" {
  for_each = var.shards

  project     = var.project_id
  region      = var.region
  name        = "${var.name_prefix}-members-${each.key}"
  description = "Where members of shard ${each.key} are reached"
  labels      = var.labels
}

resource "google_compute_forwarding_rule" "members" {
  for_each = var.shards

  project               = var.project_id
  region                = var.region
  name                  = "${var.name_prefix}-members-${each.key}"
  description           = "Members' sockets of shard ${each.key}"
  load_balancing_scheme = "EXTERNAL"
  ip_address            = google_compute_address.members[each.key].address
  ip_protocol           = "TCP"
  port_range            = local.member_port_range
  backend_service       = google_compute_region_backend_service.members[each.key].id
  labels                = var.labels
}

resource "google_compute_region_backend_service" "members" {
  for_each = var.shards

  project               = var.project_id
  region                = var.region
  name                  = "${var.name_prefix}-members-${each.key}"
  load_balancing_scheme = "EXTERNAL"
  protocol              = "TCP"
  health_checks         = [google_compute_region_health_check.ready.id]

  # A stopping companion closes its sockets within this time.
  connection_draining_timeout_sec = local.drain_seconds

  backend {
    group          = google_compute_instance_group_manager.primary[each.key].instance_group
    balancing_mode = "CONNECTION"
  }

  backend {
    group          = google_compute_instance_group_manager.standby[each.key].instance_group
    balancing_mode = "CONNECTION"
    failover       = true
  }

  # Without a ratio (0), the standby's group gets the traffic while no machine of the primary's group is ready. Only the
  # holder of the lease is ready, so the traffic follows the lease.
  failover_policy {
    # Connections to a companion that lost its lease are useless.
    disable_connection_drain_on_failover = true
    # While no companion holds the lease, refuse at once instead of sending to a companion without sockets.
    drop_traffic_if_unhealthy = true
  }
}

# --- Health: readiness for the load balancer, liveness for the instance group ---

locals {
  # Seconds for a companion to finish work in flight and to give its leases back (it needs ten at most).
  drain_seconds = 15
}

# Only the companion that holds its shard's lease answers 200.
resource "google_compute_region_health_check" "ready" {
  project             = var.project_id
  region              = var.region
  name                = "${var.name_prefix}-companion-ready"
  description         = "Holds its shard's lease"
  check_interval_sec  = 5
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 2

  http_health_check {
    port         = var.control_port
    request_path = "/readyz"
  }

  log_config {
    enable = true
  }
}

# A waiting standby is alive, so it is not replaced.
resource "google_compute_health_check" "alive" {
  project             = var.project_id
  name                = "${var.name_prefix}-companion-alive"
  description         = "The companion's process answers"
  check_interval_sec  = 15
  timeout_sec         = 5
  healthy_threshold   = 1
  unhealthy_threshold = 4

  http_health_check {
    port         = var.control_port
    request_path = "/healthz"
  }

  log_config {
    enable = true
  }
}

# --- The machines ---

resource "google_artifact_registry_repository_iam_member" "companion" {
  project    = var.project_id
  location   = var.region
  repository = var.image_repository
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${var.account}"
}

locals {
  image_registry = split("/", var.image)[0]

  # In the container.
  admin_password_file = "/run/secrets/cmbs-admin-password"

  host_secrets = { for name, secret in var.secrets : name => secret if contains(secret.readers, "host") }

  shard_addresses = { for name, address in google_compute_address.members : name => address.address }

  environment = {
    for name, shard in var.shards : name => merge(
      var.environment,
      {
        CMBS_SHARDS          = local.shards_setting
        CMBS_SHARD           = name
        CMBS_BIND_HOST       = "0.0.0.0"
        CMBS_CONTROL_HOST    = "0.0.0.0"
        CMBS_CONTROL_PORT    = tostring(var.control_port)
        CMBS_CONTROL_CALLERS = join(",", var.control_callers)
      },
      var.topic_delivery == "push" ? { CMBS_PUSH_SERVICE_ACCOUNT = var.push_account } : {},
      var.admin_password_secret == null ? {} : { CMBS_ADMIN_PASSWORD_FILE = local.admin_password_file },
    )
  }

  # The first shard gets members whose sockets are at no shard's address.
  shards_setting = join(",", [
    for name in concat(["main"], sort(setsubtract(keys(local.shard_addresses), ["main"]))) : "${name}=${local.shard_addresses[name]}"
  ])
}

resource "google_compute_instance_template" "companion" {
  for_each = var.shards

  project      = var.project_id
  region       = var.region
  name_prefix  = "${var.name_prefix}-companion-${each.key}-"
  description  = "CMBS companion of shard ${each.key}"
  machine_type = each.value.machine_type
  labels       = merge(var.labels, { cmbs_shard = each.key })

  disk {
    boot         = true
    auto_delete  = true
    source_image = var.host_image
    disk_type    = "pd-balanced"
    disk_size_gb = 10 # nothing is kept here; what lasts is in the store
  }

  # No access_config, so no public address. Members connect through the load balancer.
  network_interface {
    subnetwork = google_compute_subnetwork.companions.id
  }

  service_account {
    email = var.account
    # IAM decides the rights of the account.
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    google-logging-enabled = "true"
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"

    user-data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
      image         = var.image
      registry      = local.image_registry
      project_id    = var.project_id
      environment   = local.environment[each.key]
      secrets       = local.host_secrets
      password_file = var.admin_password_secret == null ? null : { secret = var.admin_password_secret, path = local.admin_password_file }
      member_ports  = "${var.member_ports.first}:${var.member_ports.last}"
      control_port  = var.control_port
      drain_seconds = local.drain_seconds
    })
  }

  lifecycle {
    create_before_destroy = true
  }

  # A machine needs to pull its image and to reach its network.
  depends_on = [
    google_artifact_registry_repository_iam_member.companion,
    google_compute_router_nat.companions,
  ]
}

# One machine each, in two zones. A new template replaces the standby first and then the primary, so that one companion of
# the shard can always take the lease.
resource "google_compute_instance_group_manager" "standby" {
  for_each = var.shards

  project            = var.project_id
  zone               = each.value.standby_zone
  name               = "${var.name_prefix}-companion-${each.key}-standby"
  base_instance_name = "${var.name_prefix}-companion-${each.key}-standby"
  target_size        = 1

  version {
    instance_template = google_compute_instance_template.companion[each.key].self_link_unique
  }

  update_policy {
    type                  = "PROACTIVE"
    minimal_action        = "REPLACE"
    replacement_method    = "SUBSTITUTE"
    max_surge_fixed       = 1
    max_unavailable_fixed = 0
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.alive.id
    initial_delay_sec = 180 # to boot and to pull the image
  }

  wait_for_instances        = true
  wait_for_instances_status = "UPDATED"
}

resource "google_compute_instance_group_manager" "primary" {
  for_each = var.shards

  project            = var.project_id
  zone               = each.value.primary_zone
  name               = "${var.name_prefix}-companion-${each.key}-primary"
  base_instance_name = "${var.name_prefix}-companion-${each.key}-primary"
  target_size        = 1

  version {
    instance_template = google_compute_instance_template.companion[each.key].self_link_unique
  }

  update_policy {
    type                  = "PROACTIVE"
    minimal_action        = "REPLACE"
    replacement_method    = "SUBSTITUTE"
    max_surge_fixed       = 1
    max_unavailable_fixed = 0
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.alive.id
    initial_delay_sec = 180
  }

  wait_for_instances        = true
  wait_for_instances_status = "UPDATED"

  depends_on = [google_compute_instance_group_manager.standby]
}
