# A network for the companions and the functions' connections to them only.

resource "google_compute_network" "cmbs" {
  project                 = var.project_id
  name                    = var.name_prefix
  description             = "CMBS companions"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "companions" {
  project       = var.project_id
  region        = var.region
  name          = "${var.name_prefix}-companions"
  network       = google_compute_network.cmbs.id
  ip_cidr_range = var.network.companions
  # Access to Firestore, Pub/Sub, Secret Manager and the registry without a public address.
  private_ip_google_access = true
}

# --- Out: companions connect to members elsewhere from one address, which their firewalls can admit ---

resource "google_compute_address" "outgoing" {
  project     = var.project_id
  region      = var.region
  name        = "${var.name_prefix}-outgoing"
  description = "Where the companions' own connections come from"
  labels      = var.labels
}

resource "google_compute_router" "companions" {
  project = var.project_id
  region  = var.region
  name    = "${var.name_prefix}-companions"
  network = google_compute_network.cmbs.id
}

resource "google_compute_router_nat" "companions" {
  project = var.project_id
  region  = var.region
  name    = "${var.name_prefix}-companions"
  router  = google_compute_router.companions.name

  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.outgoing.id]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.companions.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  # A companion has up to 4,000 peers with up to three connections each, but few companions have that many.
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 1024
  max_ports_per_vm                    = 16384

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# --- In: the network itself admits no connection ---

locals {
  # Addresses of Google's probes, of network load balancers and of instance groups.
  probe_ranges = ["35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22"]

  member_port_range = "${var.member_ports.first}-${var.member_ports.last}"
}

resource "google_compute_firewall" "members" {
  project     = var.project_id
  name        = "${var.name_prefix}-members"
  description = "Members elsewhere, and companions of other shards, to members' sockets"
  network     = google_compute_network.cmbs.id
  # The address of the companions keeps the list from being empty, which would admit every address.
  source_ranges           = concat(var.member_ranges, ["${google_compute_address.outgoing.address}/32"])
  target_service_accounts = [var.account]

  allow {
    protocol = "tcp"
    ports    = [local.member_port_range]
  }
}

resource "google_compute_firewall" "control" {
  project                 = var.project_id
  name                    = "${var.name_prefix}-control"
  description             = "Functions, and companions of other shards, to the control endpoint"
  network                 = google_compute_network.cmbs.id
  source_ranges           = [var.network.connector, var.network.companions]
  target_service_accounts = [var.account]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.control_port)]
  }
}

resource "google_compute_firewall" "probes" {
  project                 = var.project_id
  name                    = "${var.name_prefix}-probes"
  description             = "Google's health checks to /healthz and /readyz"
  network                 = google_compute_network.cmbs.id
  source_ranges           = local.probe_ranges
  target_service_accounts = [var.account]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.control_port)]
  }
}

# --- Connections from the functions ---
# Functions cannot use Direct VPC egress in version 6 of the provider. Two of the smallest machines are enough, since
# they carry control calls only: messages go through the store and the sockets.

resource "google_vpc_access_connector" "functions" {
  project       = var.project_id
  region        = var.region
  name          = "${var.name_prefix}-functions"
  network       = google_compute_network.cmbs.name
  ip_cidr_range = var.network.connector
  machine_type  = "e2-micro"
  min_instances = 2
  max_instances = 3
}
