# The rooms of the crate, and which may use which. Run by .ci/imports, which names the files of src/ on standard input.
#
# A room is a file `src/X.rs` with its folder `src/X/`, tests left out. It uses another where it names it: `crate::Y`, `super::Y`
# where `super` is the root, or a name that src/lib.rs re-exports from Y.

BEGIN {
    # From the bottom up: a room may use only rooms that stand above it here, so that there are no circles.
    room("address", "")
    room("guide", "")
    room("error", "address")
    room("group", "error address")
    room("packet", "address")
    room("filter", "packet error address")
    room("cmsg", "packet address")
    room("sys", "address filter error")
    room("route", "sys address group error")
    room("socket", "sys address route group filter cmsg error packet")
    room("listener", "socket filter packet group error address")
    room("sender", "socket listener filter packet cmsg route group error address")
    room("poller", "sys error")
    room("links", "route listener sender filter group error sys address")
    # The documented API stands on the public one, as a stranger's would: on what src/lib.rs re-exports, and on `filter`.
    room("compat", "filter")
    only_public["compat"]

    read_tokens("src/lib.rs")
    find_reexports()
    note_file("src/lib.rs")
}

# The root may use all, and so may the opening for the fuzz targets; tests are no part of a room.
$0 != "src/lib.rs" && $0 != "src/fuzzing.rs" && !/\/tests(\.rs$|\/)/ { check_file($0) }

END {
    if (!failed) find_circles()
    exit failed ? 2 : (breaches > 0)
}

function room(name, uses,    list, count, k) {
    count = split(uses, list, " ")
    rooms[name]
    may[name, name]
    for (k = 1; k <= count; k++) {
        if (!(list[k] in rooms))
            fail("the table is wrong: " name " stands above " list[k] " and cannot use it")
        may[name, list[k]]
    }
}

function fail(message) {
    print "imports: " message
    failed = 1
    exit
}

function breach(file, line, message) {
    print file ":" line ": " message
    breaches++
}

function check_file(file,    parts, depth, name, i, supers) {
    depth = split(file, parts, "/") - 1
    name = parts[2]
    sub(/\.rs$/, "", name)
    if (!(name in rooms)) {
        breach(file, 1, "room " name " is not in the table of .ci/imports.awk")
        return
    }
    # How many times `super` leads from here to the root.
    if (parts[depth + 1] == "mod.rs") depth--

    read_tokens(file)
    note_file(file)
    for (i = 1; i <= tokens; i++) {
        if (is_test_attribute(i)) {
            i = end_of_item(i)
        } else if (token[i] == "crate" && token[i + 1] == "::") {
            check_path(file, name, i + 2, 1)
        } else if (token[i] == "super") {
            for (supers = 1; token[i + 1] == "::" && token[i + 2] == "super"; supers++) i += 2
            # In a module inside the file `super` is the file itself, so a name that is no room is nobody's business.
            if (supers >= depth && token[i + 1] == "::") check_path(file, name, i + 2, 0)
        }
    }
}

# Checks the first name of the path at token i, or of each path in the braces there.
function check_path(file, name, i, strict,    depth) {
    if (token[i] != "{") {
        check_name(file, line[i], name, token[i], strict)
        return
    }
    for (depth = 0; i <= tokens; i++) {
        if (token[i] == "{") depth++
        if (token[i] == "}" && --depth == 0) return
        if (depth == 1 && (token[i] == "{" || token[i] == ",") && token[i + 1] ~ /^[A-Za-z_*]/)
            check_name(file, line[i + 1], name, token[i + 1], strict)
    }
}

function check_name(file, line, name, used, strict,    target) {
    if (used in public && name in only_public) return
    target = used in reexported ? reexported[used] : used
    if (target in rooms) {
        if (!((name, target) in may)) breach(file, line, "room " name " may not use " target)
    } else if (strict && used != "self") {
        breach(file, line, "room " name " may not use crate::" used)
    }
}

# Notes which names src/lib.rs re-exports from which room, and which of them are public.
function find_reexports(    i, j, from) {
    for (i = 1; i <= tokens; i++) {
        if (token[i] != "use") continue
        from = i + 1
        while ((token[from] == "crate" || token[from] == "self") && token[from + 1] == "::") from += 2
        for (j = from; j <= tokens && token[j] != ";"; j++) {
            # The last name of a path, or the one after `as`.
            if (token[j] !~ /^[A-Za-z_]/ || token[j + 1] !~ /^[,};]$/) continue
            if (token[from] in rooms) reexported[token[j]] = token[from]
            if (token[i - 1] == "pub") public[token[j]]
        }
        i = j
    }
}

# `#[cfg(test)]` or `#[cfg(all(test, ..))]`: what follows is in no build that a user has.
function is_test_attribute(i) {
    if (token[i] != "#" || token[i + 1] != "[" || token[i + 2] != "cfg") return 0
    return token[i + 4] == "test" || (token[i + 4] == "all" && token[i + 6] == "test")
}

# The last token of the item whose attributes begin at token i: its `;`, or the bracket that closes its body.
function end_of_item(i,    depth, body) {
    for (; i <= tokens; i++) {
        if (token[i] == ";" && depth == 0) return i
        if (token[i] == "{" && depth == 0) body = 1
        if (token[i] ~ /^[({[]$/) depth++
        if (token[i] ~ /^[])}]$/ && --depth <= 0 && (body || depth < 0)) return i
    }
    return tokens
}

# Reads a Rust file into token[1..tokens], each with its line; comments, strings and characters are left out. A token is a word,
# `::`, or one other character.
function read_tokens(file,    text, number, status, comment, end, raw, taken) {
    for (tokens = split("", token); (status = (getline text < file)) > 0; ) {
        number++
        # Each turn takes `taken` characters off the line; 0 gives the rest of it up.
        for (; text != ""; text = taken ? substr(text, taken + 1) : "") {
            taken = 0
            if (comment > 0) {
                # Comments nest.
                if (match(text, /\/\*|\*\//)) {
                    comment += substr(text, RSTART, 1) == "/" ? 1 : -1
                    taken = RSTART + 1
                }
            } else if (end != "" && raw) {
                # A raw string ends at a quotation mark and as many # as it began with, maybe lines later.
                if (index(text, end)) {
                    taken = index(text, end) + length(end) - 1
                    end = ""
                }
            } else if (end != "") {
                # A string ends at the first quotation mark without a backslash before it.
                match(text, /^([^"\\]|\\.)*/)
                if (substr(text, RLENGTH + 1, 1) == end) {
                    taken = RLENGTH + 1
                    end = ""
                }
            } else if (text ~ /^\/\*/) {
                comment = 1
                taken = 2
            } else if (text ~ /^\/\//) {
                taken = 0
            } else if (match(text, /^[bc]?r#*"/) || match(text, /^[bc]?"/)) {
                taken = RLENGTH
                raw = index(substr(text, 1, RLENGTH), "r")
                end = substr(text, 1, RLENGTH)
                gsub(/[^#]/, "", end)
                end = "\"" end
            } else if (match(text, /^b?'(\\[^xu]|\\x[0-9A-Fa-f]+|\\u[{][^}]*[}]|[^\\]|[^ -~]+)'/)) {
                # A character; any other such mark begins a lifetime.
                taken = RLENGTH
            } else if (match(text, /^[A-Za-z0-9_]+|^::|^[^ \t]/)) {
                token[++tokens] = substr(text, 1, RLENGTH)
                line[tokens] = number
                taken = RLENGTH
            } else {
                taken = 1
            }
        }
    }
    if (status < 0) fail("cannot read " file)
    close(file)
}
