# Properties of all parts together: sums, names, zones, contradictions.

variables {
  routes = [
    { name = "member", entryPoint = "member", summary = "Members", access = "companion", paths = ["/cmbs/member/{id}"] },
    { name = "occi", entryPoint = "occi", summary = "Everything else", access = "bus", paths = ["/{path=**}"] },
  ]
  firestore                  = { entities = { ttl = "expires", exempt = ["value"], ascending = ["index"] } }
  name_prefix                = "cmbs"
  push_through_load_balancer = false
  function_settings          = { memory = "512Mi", cpu = 1, concurrency = 40, min_instances = 0, max_instances = 10, timeout = 75 }
  instances                  = {}
  min_instances_budget       = 2
  shards                     = { main = {} }
  member_ports               = { first = 5010, last = 5040 }
  network_range              = "10.80.0.0/20"
  topic_prefix               = "cmbs"
  topic_delivery             = "pull"
  topics                     = []
  database                   = "cmbs"
  settings                   = {}
  identities                 = []
  administrators             = []
  oidc_issuers               = []
  open_to_everyone           = true
  secrets                    = []
}

run "as_it_should_be" {
  module {
    source = "./modules/layout"
  }

  assert {
    condition     = output.catch_all == "occi" && output.accesses == toset(["companion", "bus"])
    error_message = "The catch-all and the accesses are read from the routes."
  }

  assert {
    condition = {
      for name, field in output.firestore_fields : name => "${field.group} ${field.field} [${join(",", field.orders)}]${field.expires ? " expires" : ""}"
      } == {
      "entities/expires" = "entities expires [] expires"
      "entities/index"   = "entities index [ASCENDING]"
      "entities/value"   = "entities value []"
    }
    error_message = "A field that expires and is not indexed is exempt."
  }

  assert {
    condition     = !contains(keys(output.environment), "CMBS_QUEUE_LIMIT") && !contains(keys(output.environment), "CMBS_PUSH_URL")
    error_message = "What is not set is left to the product."
  }

  assert {
    condition     = { for name, value in output.environment : name => value if can(regex("IDENTIT|ADMINISTRATOR|OIDC|OPEN", name)) } == { CMBS_OPEN_TO_EVERYONE = "yes" }
    error_message = "Without identities, only this says who may do what."
  }
}

run "too_many_minimum_instances" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    instances = { member = { min_instances = 1 }, occi = { min_instances = 2 } }
  }

  expect_failures = [output.functions]
}

run "minimum_instances_for_all" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    function_settings    = { memory = "512Mi", cpu = 1, concurrency = 40, min_instances = 1, max_instances = 10, timeout = 75 }
    min_instances_budget = 1
  }

  expect_failures = [output.functions]
}

run "a_function_that_there_is_not" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    instances = { membr = { min_instances = 1 } }
  }

  expect_failures = [output.functions]
}

run "more_at_least_than_at_most" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    instances = { member = { min_instances = 2, max_instances = 1 } }
  }

  expect_failures = [output.functions]
}

run "many_requests_on_half_a_cpu" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    instances = { member = { cpu = 0.5 } }
  }

  expect_failures = [output.functions]
}

run "a_name_that_is_too_long" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    name_prefix = "a-prefix-that-leaves-too-little-room-for-a-name"
  }

  expect_failures = [output.functions]
}

run "a_function_listed_twice" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    routes = [
      { name = "occi", entryPoint = "occi", summary = "One", access = "bus", paths = ["/a"] },
      { name = "occi", entryPoint = "occi", summary = "Other", access = "bus", paths = ["/{path=**}"] },
    ]
  }

  expect_failures = [var.routes]
}

run "an_access_that_there_is_not" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    routes = [
      { name = "occi", entryPoint = "occi", summary = "Everything", access = "everything", paths = ["/{path=**}"] },
    ]
  }

  expect_failures = [var.routes]
}

run "no_catch_all" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    routes = [
      { name = "member", entryPoint = "member", summary = "Members", access = "companion", paths = ["/cmbs/member/{id}"] },
    ]
  }

  expect_failures = [output.catch_all]
}

run "a_path_that_cannot_be_matched" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    routes = [
      { name = "deep", entryPoint = "deep", summary = "Deep", access = "store", paths = ["/{a}/{b}/{c}/{d}/{e}/{f}"] },
      { name = "occi", entryPoint = "occi", summary = "Everything", access = "bus", paths = ["/{path=**}"] },
    ]
  }

  expect_failures = [output.url_rules]
}

run "the_control_port_among_the_members" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    member_ports = { first = 8000, last = 8100 }
  }

  expect_failures = [output.member_ports]
}

run "both_companions_in_one_zone" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    shards = { main = { primary_zone = "europe-west1-c" } }
  }

  expect_failures = [output.shards]
}

run "a_zone_elsewhere" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    shards = { main = { primary_zone = "us-east1-b" } }
  }

  expect_failures = [output.shards]
}

run "a_setting_and_a_secret" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    secrets = ["CMBS_PUBLIC_URL"]
  }

  expect_failures = [output.environment]
}

run "push_without_a_function" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    topic_delivery = "push"
  }

  expect_failures = [output.push]
}

run "a_field_both_exempt_and_indexed" {
  command = plan

  module {
    source = "./modules/layout"
  }

  variables {
    firestore = { entities = { exempt = ["value"], ascending = ["value"] } }
  }

  expect_failures = [output.firestore_fields]
}
