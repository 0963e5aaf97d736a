locals {
  # One entry per field whose indexing differs from the default, which indexes every field three times.
  firestore_fields = merge([
    for group, rules in var.firestore : {
      for field in distinct(concat(rules.exempt, rules.ascending, rules.descending, compact([rules.ttl]))) : "${group}/${field}" => {
        group = group
        field = field
        orders = concat(
          contains(rules.ascending, field) ? ["ASCENDING"] : [],
          contains(rules.descending, field) ? ["DESCENDING"] : [],
        )
        expires = field == rules.ttl
      }
    }
  ]...)

  firestore_indexes = merge([
    for group, rules in var.firestore : {
      for fields in rules.composite : "${group}/${join("+", fields)}" => { group = group, fields = fields }
    }
  ]...)

  # A field cannot be both.
  firestore_contradictions = flatten([
    for group, rules in var.firestore : [
      for field in setintersection(rules.exempt, concat(rules.ascending, rules.descending)) : "${group}/${field}"
    ]
  ])
}
