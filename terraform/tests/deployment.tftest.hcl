# The whole deployment with every resource mocked, to check that the parts fit together.

mock_provider "google" {}

run "with_defaults" {
  assert {
    condition     = output.endpoint == "https://cmbs.example.com" && output.dns_record.name == "cmbs.example.com" && output.dns_record.type == "A"
    error_message = "The endpoint is the domain, over HTTPS."
  }

  assert {
    condition     = toset(keys(output.function_urls)) == toset([for route in jsondecode(file("routes.json")) : route.name])
    error_message = "There is one function per element of routes.json."
  }

  assert {
    condition     = keys(output.shards) == ["main"] && output.shards["main"].ports == "5010-5040"
    error_message = "By default there is one shard."
  }

  assert {
    condition     = output.topics.dead_letters == "cmbs.dead-letter" && output.topics.dead_letter_subscription == "cmbs.dead-letter.keep" && output.topics.prefix == "cmbs"
    error_message = "Topics start with their prefix."
  }

  assert {
    condition     = output.companion_image_repository == "europe-west1-docker.pkg.dev/example-project/cmbs-companion"
    error_message = "The companion's images have a repository."
  }

  assert {
    condition     = output.service_accounts.push == null
    error_message = "Nothing is pushed by default."
  }
}

run "with_push" {
  command = plan

  variables {
    topic_delivery             = "push"
    push_through_load_balancer = true
  }
}

run "with_everything_set" {
  command = plan

  variables {
    name_prefix            = "cmbs-two"
    topic_prefix           = "two"
    member_ranges          = ["203.0.113.0/24", "198.51.100.7/32"]
    shards                 = { main = {}, second = { primary_zone = "europe-west1-d", machine_type = "e2-medium" } }
    instances              = { occi = { min_instances = 1 }, member = { memory = "1Gi", cpu = 2, concurrency = 80 } }
    topics                 = [{ name = "weather.alps" }]
    secrets                = { CMBS_EXAMPLE = { secret = "example" } }
    notification_channels  = ["projects/example-project/notificationChannels/1"]
    deletion_protection    = false
    backup_days            = 0
    runtime                = "nodejs22"
    settings               = { extensions = ["infrastructure"], discovery = "open", address_ranges = ["10.0.0.0/8"], log = "debug", send_wait_seconds = 0 }
    alert_thresholds       = { error_ratio = 0.5 }
    client_ranges          = ["198.51.100.0/24", "2001:db8::/32"]
    point_in_time_recovery = false
    functions_directory    = "/archives"
    min_instances_budget   = 1
    function_settings      = { timeout = 300 }
    host_image             = "projects/cos-cloud/global/images/cos-stable-121-18867-90-38"
    network_range          = "192.168.16.0/20"
    rate_limit             = { requests = 10, seconds = 10 }
    invokers               = ["group:operators@example.com", "serviceAccount:client@example.com"]
    labels                 = {}
    firestore_database     = "broker"
    identities             = ["basic", "token", "oidc"]
    administrators         = ["accounts.google.com/alice@example.com", "root"]
    oidc_issuers = [
      { issuer = "https://accounts.google.com", audience = ["example"], claim = "email", require = { hd = "example.com", email_verified = true } },
      { issuer = "https://issuer.example", audience = ["cmbs"], prefix = "staff/", skew_s = 60 },
    ]
  }

  assert {
    condition     = output.topics.dead_letters == "two.dead-letter"
    error_message = "The prefix is what is set."
  }
}

run "open_to_everyone" {
  command = plan

  variables {
    identities       = []
    administrators   = []
    open_to_everyone = true
  }
}
