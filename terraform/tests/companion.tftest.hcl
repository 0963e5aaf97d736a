# Zones of the companions, addresses that reach their ports, and the companion that gets the traffic.

mock_provider "google" {}

run "setup" {
  module {
    source = "./tests/setup"
  }

  variables {
    secrets = ["CMBS_EXAMPLE", "CMBS_OTHER"]
  }
}

run "companion" {
  module {
    source = "./modules/companion"
  }

  variables {
    name_prefix      = "cmbs"
    labels           = {}
    shards           = run.setup.layout.shards
    network          = run.setup.layout.network
    member_ports     = run.setup.layout.member_ports
    control_port     = run.setup.layout.control_port
    member_ranges    = ["203.0.113.0/24"]
    image            = "europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    image_repository = "cmbs-companion"
    host_image       = "projects/cos-cloud/global/images/family/cos-stable"
    account          = "companion@example.com"
    control_callers  = ["bus@example.com", "companion-functions@example.com"]
    environment      = run.setup.layout.environment
    topic_delivery   = "pull"
    push_account     = null
    secrets = {
      CMBS_EXAMPLE = { secret = "example", version = "3", readers = ["host", "bus"] }
      CMBS_OTHER   = { secret = "other", version = "latest", readers = ["bus"] }
    }
  }

  # --- Ports ---

  assert {
    condition     = run.setup.layout.member_ports == { first = 5010, last = 5040 } && run.setup.layout.control_port == 8080
    error_message = "Members' sockets are at 5010 to 5040, control at 8080."
  }

  assert {
    condition = alltrue([
      for rule in google_compute_forwarding_rule.members :
      rule.port_range == "5010-5040" && rule.ip_protocol == "TCP" && rule.load_balancing_scheme == "EXTERNAL"
    ])
    error_message = "The members' ports, and no other, are open on a shard's address."
  }

  assert {
    condition     = one(google_compute_firewall.members.allow).ports == tolist(["5010-5040"]) && one(google_compute_firewall.members.allow).protocol == "tcp"
    error_message = "The firewall opens the members' ports."
  }

  assert {
    condition     = google_compute_firewall.members.source_ranges == toset(["203.0.113.0/24", "${google_compute_address.outgoing.address}/32"])
    error_message = "Members' ports are open to member_ranges and to other shards' companions."
  }

  assert {
    condition     = one(google_compute_firewall.control.allow).ports == tolist(["8080"]) && google_compute_firewall.control.source_ranges == toset([google_vpc_access_connector.functions.ip_cidr_range, google_compute_subnetwork.companions.ip_cidr_range])
    error_message = "The control port is open to the functions' connector."
  }

  assert {
    condition     = one(google_compute_firewall.probes.allow).ports == tolist(["8080"]) && google_compute_firewall.probes.source_ranges == toset(["35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22"])
    error_message = "The control port is open to Google's probes."
  }

  assert {
    condition = alltrue([
      for firewall in [google_compute_firewall.members, google_compute_firewall.control, google_compute_firewall.probes] :
      firewall.target_service_accounts == toset(["companion@example.com"])
    ])
    error_message = "What is opened is opened on companions."
  }

  assert {
    condition     = alltrue([for template in google_compute_instance_template.companion : length(one(template.network_interface).access_config) == 0])
    error_message = "Companions have no address of their own outside."
  }

  assert {
    condition     = google_compute_subnetwork.companions.ip_cidr_range == "10.80.0.0/24" && google_vpc_access_connector.functions.ip_cidr_range == "10.80.1.0/28"
    error_message = "Companions and connector have ranges of their own."
  }

  # --- Active and standby ---

  assert {
    condition = alltrue([
      for name, service in google_compute_region_backend_service.members : {
        for backend in service.backend : backend.group => backend.failover
        } == {
        (google_compute_instance_group_manager.primary[name].instance_group) = false
        (google_compute_instance_group_manager.standby[name].instance_group) = true
      }
    ])
    error_message = "A shard has a primary and a standby that takes over."
  }

  assert {
    condition = alltrue([
      for service in google_compute_region_backend_service.members :
      service.failover_policy[0].drop_traffic_if_unhealthy && service.failover_policy[0].disable_connection_drain_on_failover
      && service.health_checks == toset([google_compute_region_health_check.ready.id])
      && service.load_balancing_scheme == "EXTERNAL" && service.protocol == "TCP"
    ])
    error_message = "Traffic goes to who is ready, and to nobody when nobody is."
  }

  assert {
    condition     = google_compute_region_health_check.ready.http_health_check[0].request_path == "/readyz" && google_compute_region_health_check.ready.http_health_check[0].port == 8080
    error_message = "Ready is who holds the lease."
  }

  assert {
    condition     = google_compute_health_check.alive.http_health_check[0].request_path == "/healthz" && google_compute_health_check.alive.http_health_check[0].port == 8080
    error_message = "Alive is who answers."
  }

  assert {
    condition = alltrue([
      for group in concat(values(google_compute_instance_group_manager.primary), values(google_compute_instance_group_manager.standby)) :
      group.target_size == 1 && group.auto_healing_policies[0].health_check == google_compute_health_check.alive.id
    ])
    error_message = "Each group is one machine, which is replaced when it is dead, not when it waits."
  }

  assert {
    condition = {
      for name in keys(run.setup.layout.shards) : name => [
        google_compute_instance_group_manager.primary[name].zone, google_compute_instance_group_manager.standby[name].zone
      ]
      } == {
      main = ["europe-west1-b", "europe-west1-c"]
      alps = ["europe-west1-d", "europe-west1-b"]
    }
    error_message = "The two companions of a shard are in two zones."
  }

  assert {
    condition     = output.shards_setting == "main=${google_compute_address.members["main"].address},alps=${google_compute_address.members["alps"].address}"
    error_message = "CMBS_SHARDS lists every shard with its address, main first."
  }

  # --- The machine ---

  assert {
    condition = alltrue([
      for line in [
        "--network host", "--user 65532:65532", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges",
        "--env-file /etc/cmbs/environment", "TimeoutStopSec=30", "docker stop --time 15", "--dport 5010:5040", "--dport 8080",
        "companion@sha256:0123456789abcdef", "configure-docker --registries=europe-west1-docker.pkg.dev",
        "\"CMBS_CONTROL_URL=http://$address:8080\"",
      ] : strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], line)
    ])
    error_message = "The container is started with little to do harm with, and is given time to stop."
  }

  assert {
    condition = alltrue([
      for line in [
        "NODE_ENV=production", "GOOGLE_CLOUD_PROJECT=example-project", "CMBS_PUBLIC_URL=https://cmbs.example.com",
        "CMBS_FIRESTORE_DATABASE=cmbs", "CMBS_TOPIC_PREFIX=cmbs", "CMBS_TOPIC_DELIVERY=pull", "CMBS_PORT_RANGE=5010-5040",
        "CMBS_CONTROL_AUDIENCE=https://cmbs.example.com/control", "CMBS_SHARDS=${output.shards_setting}", "CMBS_SHARD=alps",
        "CMBS_BIND_HOST=0.0.0.0", "CMBS_CONTROL_HOST=0.0.0.0", "CMBS_CONTROL_PORT=8080",
        "CMBS_CONTROL_CALLERS=bus@example.com,companion-functions@example.com", "CMBS_QUEUE_LIMIT=500", "CMBS_EXTENSIONS=infrastructure",
        "CMBS_IDENTITIES=token,oidc", "CMBS_ADMINISTRATORS=[\"accounts.google.com/alice@example.com\",\"issuer.example/CN=bob,O=Example\"]",
        "CMBS_OIDC_ISSUERS={\"issuers\":[{\"audience\":[\"example\"],\"claim\":\"email\",\"issuer\":\"https://accounts.google.com\",\"require\":{\"email_verified\":true,\"hd\":\"example.com\"}}]}",
      ] : strcontains(google_compute_instance_template.companion["alps"].metadata["user-data"], "\n      ${line}\n")
    ])
    error_message = "The companion is told what the functions are told, and what it alone needs."
  }

  # The result is YAML with any values.
  assert {
    condition = [
      for file in yamldecode(google_compute_instance_template.companion["main"].metadata["user-data"]).write_files : file.path
    ] == ["/etc/cmbs/environment", "/etc/cmbs/start", "/etc/systemd/system/cmbs-companion.service"]
    error_message = "cloud-init writes three files."
  }

  assert {
    condition = alltrue([
      for template in google_compute_instance_template.companion :
      one(template.shielded_instance_config).enable_secure_boot && template.metadata["block-project-ssh-keys"] == "TRUE" && template.metadata["enable-oslogin"] == "TRUE"
    ])
    error_message = "Machines boot what is signed, and take no keys that lie around."
  }

  # --- Secrets ---

  assert {
    condition = (
      strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], "CMBS_EXAMPLE=$(secret 'example' '3')")
      && strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], "--env CMBS_EXAMPLE \\")
    )
    error_message = "The machine reads its secrets when it boots."
  }

  assert {
    condition     = !strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], "CMBS_OTHER")
    error_message = "A secret that the host is no reader of does not reach it."
  }

  assert {
    condition     = !strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], "admin-password")
    error_message = "Without a secret for it there is no file with the password of the first administrator."
  }
}

run "a_password_for_the_first_administrator" {
  command = plan

  module {
    source = "./modules/companion"
  }

  variables {
    name_prefix           = "cmbs"
    labels                = {}
    shards                = { main = run.setup.layout.shards.main }
    network               = run.setup.layout.network
    member_ports          = run.setup.layout.member_ports
    control_port          = run.setup.layout.control_port
    member_ranges         = []
    image                 = "europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    image_repository      = "cmbs-companion"
    host_image            = "projects/cos-cloud/global/images/family/cos-stable"
    account               = "companion@example.com"
    control_callers       = ["bus@example.com"]
    environment           = run.setup.layout.environment
    topic_delivery        = "pull"
    push_account          = null
    secrets               = {}
    admin_password_secret = "root-password"
  }

  override_resource {
    target          = google_compute_address.members
    override_during = plan
    values          = { address = "203.0.113.10" }
  }

  assert {
    condition = alltrue([
      for line in [
        "      CMBS_ADMIN_PASSWORD_FILE=/run/secrets/cmbs-admin-password\n",
        "secret 'root-password' latest >\"$password\"\n",
        "--mount \"type=bind,source=$password,target=/run/secrets/cmbs-admin-password,readonly\"",
      ] : strcontains(google_compute_instance_template.companion["main"].metadata["user-data"], line)
    ])
    error_message = "The container gets the password of the first administrator as a file."
  }
}
