# Every variable refuses values that would fail later, or worse, would be accepted. A run gives each variable one bad
# value, and each must be refused separately.

mock_provider "google" {}

run "one_bad_value_each" {
  command = plan

  variables {
    project_id            = "Example"
    project_number        = "example-project"
    region                = "europe-west1-b"
    name_prefix           = "much-too-long-for-accounts"
    labels                = { App = "cmbs" }
    domain                = "https://cmbs.example.com"
    client_ranges         = []
    invokers              = []
    rate_limit            = { requests = 1, seconds = 61 }
    administrators        = [" a user"]
    oidc_issuers          = [{ issuer = "http://issuer.example", audience = ["cmbs"] }]
    release               = "latest"
    functions_directory   = "../dist/functions/"
    runtime               = "nodejs20"
    function_settings     = { timeout = 60 }
    instances             = { occi = { memory = "1G" } }
    min_instances_budget  = -1
    firestore_database    = "(default)"
    firestore_location    = "Europe"
    backup_days           = 99
    topic_prefix          = "google"
    topic_delivery        = "both"
    topics                = [{ name = "häuser" }]
    companion_image       = "europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion:latest"
    shards                = {}
    member_ranges         = ["203.0.113.10"]
    network_range         = "10.80.0.0/24"
    host_image            = "projects/debian-cloud/global/images/family/debian-12"
    settings              = { discovery = "sometimes" }
    secrets               = { lowercase = { secret = "example" } }
    notification_channels = ["operators@example.com"]
    alert_thresholds      = { error_ratio = 5 }
  }

  expect_failures = [
    var.project_id,
    var.project_number,
    var.region,
    var.name_prefix,
    var.labels,
    var.domain,
    var.client_ranges,
    var.invokers,
    var.rate_limit,
    var.administrators,
    var.oidc_issuers,
    var.release,
    var.functions_directory,
    var.runtime,
    var.function_settings,
    var.instances,
    var.min_instances_budget,
    var.firestore_database,
    var.firestore_location,
    var.backup_days,
    var.topic_prefix,
    var.topic_delivery,
    var.topics,
    var.companion_image,
    var.shards,
    var.member_ranges,
    var.network_range,
    var.host_image,
    var.settings,
    var.secrets,
    var.notification_channels,
    var.alert_thresholds,
  ]
}

run "another_bad_value_each" {
  command = plan

  variables {
    client_ranges     = ["everybody"]
    invokers          = ["somebody@example.com"]
    identities        = ["proxy"]
    function_settings = { memory = "lots" }
    instances         = { occi = { max_instances = 0 } }
    topics            = [{ name = "news", layers = ["l1"] }]
    shards            = { Main = {} }
    network_range     = "203.0.112.0/20"
    settings          = { send_wait_seconds = 61 }
    secrets           = { CMBS_EXAMPLE = { secret = "projects/x/secrets/y" } }
    alert_thresholds  = { lease_missing_minutes = 1 }
  }

  expect_failures = [
    var.client_ranges,
    var.invokers,
    var.identities,
    var.function_settings,
    var.instances,
    var.topics,
    var.shards,
    var.network_range,
    var.settings,
    var.secrets,
    var.alert_thresholds,
  ]
}

run "a_third" {
  command = plan

  variables {
    function_settings = { max_instances = 1000 }
    settings          = { max_body_bytes = 1 }
    secrets           = { CMBS_EXAMPLE = { secret = "example", version = "newest" } }
  }

  expect_failures = [
    var.function_settings,
    var.settings,
    var.secrets,
  ]
}

run "a_fourth" {
  command = plan

  variables {
    member_ports      = { first = 5040, last = 5010 }
    function_settings = { concurrency = 0 }
    settings          = { log = "warn" }
    secrets           = { CMBS_EXAMPLE = { secret = "example", readers = ["everybody"] } }
  }

  expect_failures = [
    var.member_ports,
    var.function_settings,
    var.settings,
    var.secrets,
  ]
}

run "a_range" {
  command = plan

  variables {
    settings = { address_ranges = ["private"] }
  }

  expect_failures = [
    var.settings,
  ]
}

run "a_fifth" {
  command = plan

  variables {
    settings = { extensions = ["a b"] }
  }

  expect_failures = [
    var.settings,
  ]
}

run "nothing_that_says_who_may_do_what" {
  command = plan

  variables {
    identities = []
  }

  expect_failures = [
    var.identities,
  ]
}

run "identities_and_everyone" {
  command = plan

  variables {
    open_to_everyone = true
  }

  expect_failures = [
    var.identities,
  ]
}

run "nobody_who_lets_others_in" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [
    var.administrators,
  ]
}

run "tokens_of_no_issuer" {
  command = plan

  variables {
    identities = ["oidc"]
  }

  expect_failures = [
    var.oidc_issuers,
  ]
}

run "issuers_without_the_identity" {
  command = plan

  variables {
    oidc_issuers = [{ issuer = "https://issuer.example", audience = ["cmbs"] }]
  }

  expect_failures = [
    var.oidc_issuers,
  ]
}

run "an_issuer_with_a_misspelt_attribute" {
  command = plan

  variables {
    identities   = ["oidc"]
    oidc_issuers = [{ issuer = "https://issuer.example", audience = ["cmbs"], claims = "email" }]
  }

  expect_failures = [
    var.oidc_issuers,
  ]
}

run "a_password_for_nobody_who_logs_in_by_it" {
  command = plan

  variables {
    identities            = ["token"]
    admin_password_secret = "root-password"
  }

  expect_failures = [
    var.admin_password_secret,
  ]
}

run "a_password_for_a_user_of_an_issuer" {
  command = plan

  variables {
    administrators        = ["accounts.google.com/alice@example.com", "root"]
    admin_password_secret = "root-password"
  }

  expect_failures = [
    var.admin_password_secret,
  ]
}

run "a_password_in_place_of_a_secret" {
  command = plan

  variables {
    admin_password_secret = "correct horse"
  }

  expect_failures = [
    var.admin_password_secret,
  ]
}
