# The rights of each account, and the rights that no account has.

mock_provider "google" {}

run "setup_pull" {
  module {
    source = "./tests/setup"
  }
}

run "pull" {
  module {
    source = "./modules/identity"
  }

  variables {
    name_prefix    = "cmbs"
    accesses       = run.setup_pull.layout.accesses
    database       = "cmbs"
    topic_delivery = "pull"
    secrets        = {}
  }

  assert {
    condition     = toset(keys(google_service_account.functions)) == toset([for route in jsondecode(file("routes.json")) : route.access])
    error_message = "Functions have an account for each kind of access."
  }

  assert {
    condition     = length(distinct([for account in concat(values(google_service_account.functions), [google_service_account.companion, google_service_account.build]) : account.account_id])) == length(google_service_account.functions) + 2
    error_message = "Nobody shares an account."
  }

  # test/unit/terraform.test.ts checks that no file has other grants than these and those below.
  assert {
    condition = toset([
      for grant in concat(
        values(google_project_iam_member.store), values(google_project_iam_member.publisher),
        [google_project_iam_member.companion_logs, google_project_iam_member.companion_topics, google_project_iam_member.build_logs, google_project_iam_member.pubsub_agent_subscriber],
      ) : grant.role
      ]) == toset([
      "roles/datastore.user", "roles/logging.logWriter", "roles/pubsub.subscriber",
      google_project_iam_custom_role.publisher.name, google_project_iam_custom_role.companion.name,
    ])
    error_message = "The project's roles are these five."
  }

  assert {
    condition     = keys(google_project_iam_member.publisher) == ["bus"] && google_project_iam_member.publisher["bus"].member == google_service_account.functions["bus"].member
    error_message = "Only functions with the access bus may use Pub/Sub."
  }

  assert {
    condition = alltrue([
      for permission in google_project_iam_custom_role.publisher.permissions :
      startswith(permission, "pubsub.") && !endswith(permission, ".consume") && !endswith(permission, ".setIamPolicy") && permission != "pubsub.topics.delete"
    ])
    error_message = "Functions make topics and subscriptions and publish; they read no message and delete no topic."
  }

  assert {
    condition = alltrue([
      for permission in google_project_iam_custom_role.companion.permissions :
      startswith(permission, "pubsub.") && !endswith(permission, ".setIamPolicy") && permission != "pubsub.topics.delete"
    ])
    error_message = "The companion's own role is about topics and subscriptions only."
  }

  assert {
    condition     = setsubtract(google_project_iam_custom_role.companion.permissions, google_project_iam_custom_role.publisher.permissions) == toset(["pubsub.subscriptions.consume"])
    error_message = "Where delivery is pull, the companion pulls, which is all that it may do beyond the functions."
  }

  assert {
    condition = alltrue([
      for grant in google_project_iam_member.store :
      grant.role == "roles/datastore.user" && strcontains(one(grant.condition).expression, "resource.name == \"projects/example-project/databases/cmbs\"")
    ]) && toset(keys(google_project_iam_member.store)) == setunion(keys(google_service_account.functions), ["host"])
    error_message = "All programs use the database cmbs, and none another one."
  }

  assert {
    condition     = output.control_callers == sort(concat([for access in ["bus", "companion"] : google_service_account.functions[access].email], [google_service_account.companion.email]))
    error_message = "Functions that only use the store, or are pushed to, may not call the companion."
  }

  assert {
    condition     = length(google_secret_manager_secret_iam_member.admin_password) == 0
    error_message = "Without a password for the first administrator, nobody reads one."
  }

  assert {
    condition     = output.push_account == null && length(google_service_account_iam_member.push_act_as) == 0
    error_message = "Where the companion pulls there is no account to push as."
  }
}

run "setup_push" {
  module {
    source = "./tests/setup"
  }

  variables {
    topic_delivery = "push"
  }
}

run "push" {
  module {
    source = "./modules/identity"
  }

  variables {
    name_prefix    = "cmbs"
    accesses       = run.setup_push.layout.accesses
    database       = "cmbs"
    topic_delivery = "push"
    secrets        = {}
  }

  assert {
    condition     = setsubtract(google_project_iam_custom_role.companion.permissions, google_project_iam_custom_role.publisher.permissions) == toset(["pubsub.subscriptions.list"])
    error_message = "Where delivery is push, nobody pulls; the companion looks whether all subscriptions are there."
  }

  assert {
    condition = {
      for who, grant in google_service_account_iam_member.push_act_as : who => [grant.role, grant.member, grant.service_account_id]
      } == {
      bus  = ["roles/iam.serviceAccountUser", google_service_account.functions["bus"].member, google_service_account.push[0].name]
      host = ["roles/iam.serviceAccountUser", google_service_account.companion.member, google_service_account.push[0].name]
    }
    error_message = "Who makes subscriptions may let them push as the push account, and as no other."
  }

  assert {
    condition = !contains(concat(
      [for grant in google_project_iam_member.store : grant.member],
      [for grant in google_project_iam_member.publisher : grant.member],
      [google_project_iam_member.companion_logs.member, google_project_iam_member.companion_topics.member, google_project_iam_member.build_logs.member],
    ), google_service_account.push[0].member)
    error_message = "The push account may do nothing in the project."
  }

  assert {
    condition     = google_service_account_iam_member.push_tokens[0].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub itself makes the push account's tokens."
  }
}

run "a_password_for_the_first_administrator" {
  module {
    source = "./modules/identity"
  }

  variables {
    name_prefix           = "cmbs"
    accesses              = run.setup_pull.layout.accesses
    database              = "cmbs"
    topic_delivery        = "pull"
    secrets               = {}
    admin_password_secret = "root-password"
  }

  assert {
    condition = [
      for grant in google_secret_manager_secret_iam_member.admin_password : [grant.secret_id, grant.role, grant.member]
    ] == [["root-password", "roles/secretmanager.secretAccessor", google_service_account.companion.member]]
    error_message = "The companion, and no function, reads the password of the first administrator."
  }

  assert {
    condition     = length(google_secret_manager_secret_iam_member.readers) == 0
    error_message = "The password of the first administrator is no variable of a function."
  }
}

run "functions_when_pushed_to" {
  module {
    source = "./modules/functions"
  }

  variables {
    name_prefix    = "cmbs"
    labels         = {}
    functions      = run.setup_push.layout.functions
    runtime        = "nodejs24"
    directory      = "/archives"
    environment    = run.setup_push.layout.environment
    secrets        = {}
    accounts       = { for access in run.setup_push.layout.accesses : access => "${access}@example.com" }
    build_account  = { name = "projects/example-project/serviceAccounts/build@example.com", member = "serviceAccount:build@example.com" }
    connector      = "projects/example-project/locations/europe-west1/connectors/cmbs-functions"
    invokers       = ["allUsers"]
    topic_delivery = "push"
    push_account   = "push@example.com"
  }

  # The only grant that names the push account, and the only one on the function that it calls.
  assert {
    condition = [
      for grant in google_cloud_run_v2_service_iam_member.invoker : [grant.name, grant.member, grant.role]
      if grant.member == "serviceAccount:push@example.com" || grant.name == "cmbs-topic-push"
    ] == [["cmbs-topic-push", "serviceAccount:push@example.com", "roles/run.invoker"]]
    error_message = "Pub/Sub's account, and nobody else, calls topic-push, and nothing else."
  }

  assert {
    condition = alltrue([
      for grant in google_cloud_run_v2_service_iam_member.invoker :
      grant.role == "roles/run.invoker" && contains(["allUsers", "serviceAccount:push@example.com"], grant.member)
    ]) && length(google_cloud_run_v2_service_iam_member.invoker) == length(run.setup_push.layout.functions)
    error_message = "Functions are called by the invokers; neither the companion nor functions call functions."
  }

  assert {
    condition = alltrue([
      for name, function in google_cloudfunctions2_function.function :
      function.service_config[0].service_account_email == "${run.setup_push.layout.functions[name].access}@example.com"
    ])
    error_message = "A function runs as the account of its access."
  }

  # Only functions that call the companion can connect to its network.
  assert {
    condition = alltrue([
      for name, function in google_cloudfunctions2_function.function :
      (function.service_config[0].vpc_connector == "projects/example-project/locations/europe-west1/connectors/cmbs-functions")
      == contains(["companion", "bus"], run.setup_push.layout.functions[name].access)
    ])
    error_message = "Functions that do not call the companion cannot reach its network."
  }

  assert {
    condition = alltrue([
      for function in google_cloudfunctions2_function.function :
      function.service_config[0].ingress_settings == "ALLOW_INTERNAL_AND_GCLB"
    ])
    error_message = "Functions take no traffic from the internet but through the load balancer."
  }

  # Builds read sources and write containers, here and nowhere else.
  assert {
    condition = (
      google_artifact_registry_repository_iam_member.build.role == "roles/artifactregistry.writer"
      && google_artifact_registry_repository_iam_member.build.repository == google_artifact_registry_repository.builds.name
      && google_storage_bucket_iam_member.build.role == "roles/storage.objectViewer"
      && google_storage_bucket_iam_member.build.bucket == google_storage_bucket.sources.name
      && strcontains(one(google_project_iam_member.build_copies.condition).expression, "gcf-v2-sources-123456789012-europe-west1")
    )
    error_message = "The build account reads the functions' sources and writes their repository."
  }

  assert {
    condition = alltrue([
      for grant in [google_artifact_registry_repository_iam_member.build, google_storage_bucket_iam_member.build, google_project_iam_member.build_copies] :
      grant.member == "serviceAccount:build@example.com"
    ])
    error_message = "Nobody but the build account touches the functions' sources and containers; the companion cannot publish one."
  }

  assert {
    condition     = google_storage_bucket.sources.public_access_prevention == "enforced" && google_storage_bucket.sources.uniform_bucket_level_access
    error_message = "The sources are nobody else's to read."
  }
}

run "functions_when_pulled" {
  command = plan

  module {
    source = "./modules/functions"
  }

  variables {
    name_prefix    = "cmbs"
    labels         = {}
    functions      = run.setup_pull.layout.functions
    runtime        = "nodejs24"
    directory      = "/archives"
    environment    = run.setup_pull.layout.environment
    secrets        = {}
    accounts       = { for access in run.setup_pull.layout.accesses : access => "${access}@example.com" }
    build_account  = { name = "projects/example-project/serviceAccounts/build@example.com", member = "serviceAccount:build@example.com" }
    connector      = "projects/example-project/locations/europe-west1/connectors/cmbs-functions"
    invokers       = ["allUsers", "group:operators@example.com"]
    topic_delivery = "pull"
    push_account   = null
  }

  assert {
    condition     = length([for key in keys(google_cloud_run_v2_service_iam_member.invoker) : key if startswith(key, "topic-push/")]) == 0
    error_message = "Where the companion pulls, nobody may call topic-push, whoever else may call the others."
  }
}

run "companion" {
  module {
    source = "./modules/companion"
  }

  variables {
    name_prefix      = "cmbs"
    labels           = {}
    shards           = run.setup_pull.layout.shards
    network          = run.setup_pull.layout.network
    member_ports     = run.setup_pull.layout.member_ports
    control_port     = run.setup_pull.layout.control_port
    member_ranges    = []
    image            = "europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    image_repository = "cmbs-companion"
    host_image       = "projects/cos-cloud/global/images/family/cos-stable"
    account          = "companion@example.com"
    control_callers  = ["bus@example.com", "companion-functions@example.com"]
    environment      = run.setup_pull.layout.environment
    topic_delivery   = "pull"
    push_account     = null
    secrets          = {}
  }

  assert {
    condition = (
      google_artifact_registry_repository_iam_member.companion.role == "roles/artifactregistry.reader"
      && google_artifact_registry_repository_iam_member.companion.repository == "cmbs-companion"
    )
    error_message = "The companion reads its own images, and writes none."
  }

  assert {
    condition = alltrue([
      for template in google_compute_instance_template.companion : one(template.service_account).email == "companion@example.com"
    ])
    error_message = "Companions run as the companion's account."
  }
}
