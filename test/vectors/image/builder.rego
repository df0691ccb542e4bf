package signature

default allow := false

allow if input.predicate.runDetails.builder.id == "https://ci.example.com/builder"
