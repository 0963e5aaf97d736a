# Functions: one per element of routes.json, with its size and its settings, and without secrets in plain text.

mock_provider "google" {}

run "setup" {
  module {
    source = "./tests/setup"
  }

  variables {
    secrets = ["CMBS_EXAMPLE"]
  }
}

run "functions" {
  module {
    source = "./modules/functions"
  }

  variables {
    name_prefix    = "cmbs"
    labels         = { app = "cmbs" }
    functions      = run.setup.layout.functions
    runtime        = "nodejs24"
    directory      = "/archives"
    environment    = merge(run.setup.layout.environment, { CMBS_SHARDS = "main=203.0.113.10", CMBS_TRUST_PROXY = "2" })
    secrets        = { CMBS_EXAMPLE = { secret = "example", version = "3", readers = ["bus", "host"] } }
    accounts       = { for access in run.setup.layout.accesses : access => "${access}@example.com" }
    build_account  = { name = "projects/example-project/serviceAccounts/build@example.com", member = "serviceAccount:build@example.com" }
    connector      = "projects/example-project/locations/europe-west1/connectors/cmbs-functions"
    invokers       = ["allUsers"]
    topic_delivery = "pull"
    push_account   = null
  }

  assert {
    condition = alltrue([
      for route in jsondecode(file("routes.json")) :
      google_cloudfunctions2_function.function[route.name].name == "cmbs-${route.name}"
      && google_cloudfunctions2_function.function[route.name].build_config[0].entry_point == route.entryPoint
    ])
    error_message = "Each element of routes.json is a function with its entry point."
  }

  assert {
    condition = alltrue([
      for name, function in google_cloudfunctions2_function.function :
      google_storage_bucket_object.source[name].source == "/archives/${name}.zip"
      && google_storage_bucket_object.source[name].name == "be8b271/${name}.zip"
      && function.build_config[0].source[0].storage_source[0].object == "be8b271/${name}.zip"
    ])
    error_message = "A function is built from its archive, under the release's name."
  }

  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.function :
      function.build_config[0].runtime == "nodejs24" && function.build_config[0].service_account == "projects/example-project/serviceAccounts/build@example.com"
    ])
    error_message = "Functions are built by the build account, for the runtime that is set."
  }

  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.function :
      function.service_config[0].timeout_seconds >= 70 && function.service_config[0].max_instance_count <= 100
    ])
    error_message = "A function outlives a wait of a minute, and does not grow without bound."
  }

  assert {
    condition = [
      for name in ["occi", "query"] : [
        google_cloudfunctions2_function.function[name].service_config[0].min_instance_count,
        google_cloudfunctions2_function.function[name].service_config[0].available_memory,
      ]
    ] == [[1, "1Gi"], [0, "512Mi"]]
    error_message = "A function's own size goes before the common one."
  }

  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.function : function.service_config[0].environment_variables == tomap({
        NODE_ENV                = "production"
        GOOGLE_CLOUD_PROJECT    = "example-project"
        CMBS_PUBLIC_URL         = "https://cmbs.example.com"
        CMBS_FIRESTORE_DATABASE = "cmbs"
        CMBS_TOPIC_PREFIX       = "cmbs"
        CMBS_TOPIC_DELIVERY     = "pull"
        CMBS_PORT_RANGE         = "5010-5040"
        CMBS_CONTROL_AUDIENCE   = "https://cmbs.example.com/control"
        CMBS_SHARDS             = "main=203.0.113.10"
        CMBS_TRUST_PROXY        = "2"
        CMBS_QUEUE_LIMIT        = "500"
        CMBS_EXTENSIONS         = "infrastructure"
        CMBS_IDENTITIES         = "token,oidc"
        CMBS_ADMINISTRATORS     = "[\"accounts.google.com/alice@example.com\",\"issuer.example/CN=bob,O=Example\"]"
        CMBS_OIDC_ISSUERS       = "{\"issuers\":[{\"audience\":[\"example\"],\"claim\":\"email\",\"issuer\":\"https://accounts.google.com\",\"require\":{\"email_verified\":true,\"hd\":\"example.com\"}}]}"
      })
    ])
    error_message = "Functions are told these things, and nothing else in plain text."
  }

  assert {
    condition = alltrue([
      for name, function in google_cloudfunctions2_function.function : [
        for secret in function.service_config[0].secret_environment_variables : "${secret.key}=${secret.secret}:${secret.version}"
      ] == [for access in [run.setup.layout.functions[name].access] : "CMBS_EXAMPLE=example:3" if access == "bus"]
    ])
    error_message = "A secret reaches the functions that are its readers, by reference."
  }
}

run "secrets" {
  module {
    source = "./modules/identity"
  }

  variables {
    name_prefix    = "cmbs"
    accesses       = run.setup.layout.accesses
    database       = "cmbs"
    topic_delivery = "pull"
    secrets        = { CMBS_EXAMPLE = { secret = "example", version = "3", readers = ["bus", "host"] } }
  }

  assert {
    condition = {
      for reader, grant in google_secret_manager_secret_iam_member.readers : reader => [grant.secret_id, grant.role, grant.member]
      } == {
      "CMBS_EXAMPLE/bus"  = ["example", "roles/secretmanager.secretAccessor", google_service_account.functions["bus"].member]
      "CMBS_EXAMPLE/host" = ["example", "roles/secretmanager.secretAccessor", google_service_account.companion.member]
    }
    error_message = "A secret is readable by its readers, and only that secret."
  }
}
