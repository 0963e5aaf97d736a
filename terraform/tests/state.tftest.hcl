# The database: indexes, exemptions, expiry, and protection against loss.

mock_provider "google" {}

run "setup" {
  module {
    source = "./tests/setup"
  }
}

run "state" {
  module {
    source = "./modules/state"
  }

  variables {
    database               = "cmbs"
    location               = "europe-west1"
    point_in_time_recovery = true
    backup_days            = 7
    deletion_protection    = true
    fields                 = run.setup.layout.firestore_fields
    indexes                = run.setup.layout.firestore_indexes
  }

  assert {
    condition     = google_firestore_database.cmbs.type == "FIRESTORE_NATIVE" && google_firestore_database.cmbs.name == "cmbs"
    error_message = "The database is a named one in native mode."
  }

  assert {
    condition     = google_firestore_database.cmbs.delete_protection_state == "DELETE_PROTECTION_ENABLED" && google_firestore_database.cmbs.deletion_policy == "ABANDON"
    error_message = "The database does not go with the deployment."
  }

  assert {
    condition     = google_firestore_database.cmbs.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED" && google_firestore_backup_schedule.daily[0].retention == "604800s"
    error_message = "A week can be read back, and is backed up."
  }

  # The content of firestore.json, and no other field.
  assert {
    condition = toset(keys(google_firestore_field.rule)) == toset(flatten([
      for group, rules in jsondecode(file("firestore.json")) : [
        for field in concat(try(rules.exempt, []), try(rules.ascending, []), try(rules.descending, []), compact([try(rules.ttl, "")])) : "${group}/${field}"
      ]
    ]))
    error_message = "A field of firestore.json has no rule, or a rule no field."
  }

  assert {
    condition = alltrue(flatten([
      for group, rules in jsondecode(file("firestore.json")) : [
        for field in try(rules.exempt, []) : length(google_firestore_field.rule["${group}/${field}"].index_config) == 1
        && length(google_firestore_field.rule["${group}/${field}"].index_config[0].indexes) == 0
      ]
    ]))
    error_message = "An exempt field is indexed."
  }

  assert {
    condition = alltrue(flatten([
      for group, rules in jsondecode(file("firestore.json")) : [
        for field in distinct(concat(try(rules.ascending, []), try(rules.descending, []))) : toset([
          for index in google_firestore_field.rule["${group}/${field}"].index_config[0].indexes : "${index.query_scope} ${index.order}"
          ]) == toset(concat(
          contains(try(rules.ascending, []), field) ? ["COLLECTION ASCENDING"] : [],
          contains(try(rules.descending, []), field) ? ["COLLECTION DESCENDING"] : [],
        ))
      ]
    ]))
    error_message = "A field is not indexed in the directions that firestore.json says, and only in those."
  }

  assert {
    condition = toset([for name, field in google_firestore_field.rule : name if length(field.ttl_config) == 1]) == toset([
      for group, rules in jsondecode(file("firestore.json")) : "${group}/${rules.ttl}" if can(rules.ttl)
    ])
    error_message = "Documents expire where firestore.json says, and nowhere else."
  }

  assert {
    condition = toset([
      for index in google_firestore_index.composite : "${index.collection}:${join(",", [for field in index.fields : "${field.field_path} ${field.order}"])}"
      ]) == toset(flatten([
        for group, rules in jsondecode(file("firestore.json")) : [
          for fields in try(rules.composite, []) : "${group}:${join(",", [for field in fields : "${field} ASCENDING"])}"
        ]
    ]))
    error_message = "Composite indexes differ from firestore.json."
  }

  # The two most important rules in words.
  assert {
    condition     = length(google_firestore_field.rule["entries/expires"].ttl_config) == 1 && length(google_firestore_field.rule["entries/value"].index_config[0].indexes) == 0
    error_message = "Inbox entries expire, and what they carry is not indexed."
  }
}

run "to_be_destroyed" {
  command = plan

  module {
    source = "./modules/state"
  }

  variables {
    database               = "cmbs"
    location               = "europe-west1"
    point_in_time_recovery = false
    backup_days            = 0
    deletion_protection    = false
    fields                 = {}
    indexes                = {}
  }

  assert {
    condition     = google_firestore_database.cmbs.delete_protection_state == "DELETE_PROTECTION_DISABLED" && google_firestore_database.cmbs.deletion_policy == "DELETE" && length(google_firestore_backup_schedule.daily) == 0
    error_message = "Without protection the database goes with the deployment."
  }
}
