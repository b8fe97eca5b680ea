# What tells of a failure in a stage's log, in its place, and the log's end: awk -v tail=LINES -f excerpt.awk LOG
#
# Of cargo: the tests that failed and what they printed, panics, and errors of the compiler. Of node:test and vitest: the
# list of what failed, at their end. At most 150 such lines, and the names of cargo's tests; what is left out shows as `...`.
BEGIN { told_max = 150 }

# The second of such lines is followed by the names.
/^failures:$/ { names = within == "cargo"; within = "cargo" }
/^error(\[|:)/ { if (!within) within = "paragraph" }
/failing tests:$/ || /Failed Tests [0-9]+/ { within = "node" }
/ panicked at / && !within { within = "paragraph" }

{
    lines[NR] = $0
    # Frames of a backtrace say little, and are many.
    frame = within == "cargo" && /^ +([0-9]+: |at )/
    if (within && !frame && (names || told < told_max)) {
        wanted[NR] = 1
        told++
    }
}

within == "cargo" && /^test result:/ { within = names = "" }
within == "paragraph" && /^$/ { within = "" }

END {
    for (at = 1; at <= NR; at++) {
        if (at in wanted || at > NR - tail) {
            if (at != shown + 1) print "..."
            print lines[at]
            shown = at
        }
    }
}
