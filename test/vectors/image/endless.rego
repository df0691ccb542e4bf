package signature

# Never ends in any time that a verifier has, and keeps what it counts.
allow if count([x | x := numbers.range(1, 1000000)[_]; y := numbers.range(1, 1000000)[_]; x < y]) > 0
