package signature

# The form with reasons: an object whose member allow decides.
deny contains "no builder" if not input.predicate.runDetails.builder.id

verdict := {"allow": count(deny) == 0, "deny": deny}
