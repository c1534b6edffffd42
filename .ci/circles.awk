# Circles of files within a room: a file that uses another one, which leads back to it. Run by .ci/imports with imports.awk, whose
# functions read the files.
#
# A file uses another where a path leads there: `crate::room::file::Name`, `super::Name`, `self::file::Name`, `file::Name`. What a
# file imports or re-exports is followed to the file that defines it: `super::Name` is a use of the parent only if the parent
# defines the name.
#
# To list a file is not to use it: `mod file;`, and `pub use file::Name` with any visibility, as long as the parent does not mention
# the name elsewhere. So a file may build on the parent that lists it. If the parent works with the name, too, that is a circle:
# move what both need to a file of its own.
#
# Methods are not seen, because no path names the file that has them. Tests are left out.

# Notes the paths in the file whose tokens were read last.
function note_file(file,    module, i, depth, inline, ends, path) {
    module = module_of(file)
    file_of[module] = file
    files[++file_count] = file
    for (i = 1; i <= tokens; i++) {
        if (is_test_attribute(i)) {
            i = end_of_item(i)
        } else if (token[i] == "mod" && token[i + 2] == "{") {
            # In a module inside the file, the first `super` is the file itself.
            ends[++inline] = ++depth
            i += 2
        } else if (token[i] == "{") {
            depth++
        } else if (token[i] == "}") {
            if (inline && ends[inline] == depth) inline--
            depth--
        } else if (token[i] == "use" && token[i + 1] != "<") {
            i = note_tree(module, inline, i + 1, token[i - 1] ~ /^(pub|\))$/)
        } else if (token[i] ~ /^[A-Za-z_]/) {
            path = token[i]
            mentioned[module, path]
            while (token[i + 1] == "::" && token[i + 2] ~ /^[A-Za-z_]/) {
                path = path "::" token[i + 2]
                i += 2
            }
            if (path ~ /^[a-z_]+::/ && token[i - 1] == "::") note_use(module, inline, i, path, "", 0)
        }
    }
}

# Notes each path of the `use` whose tree begins at token i, and returns where it ends.
function note_tree(module, inline, i, is_shown,    depth, prefix, path, name) {
    for (; i <= tokens; i++) {
        if (token[i] == "{") {
            prefix[++depth] = path
            name = ""
        } else if (token[i] ~ /^[,};]$/) {
            if (name != "") note_use(module, inline, i, path, name, is_shown)
            name = ""
            if (token[i] == ";") break
            path = prefix[depth]
            if (token[i] == "}") depth--
        } else if (token[i] == "as") {
            name = token[++i]
        } else if (token[i] ~ /^[A-Za-z_*]/) {
            if (token[i] != "self" || path == "") name = token[i]
            else { name = path; sub(/.*::/, "", name) }
            if (token[i] !~ /^(self|\*)$/ || path == "") path = path (path == "" ? "" : "::") token[i]
        }
    }
    return i
}

function note_use(module, inline, i, path, name, is_shown) {
    uses++
    use_module[uses] = module
    use_inline[uses] = inline + 0
    use_line[uses] = line[i]
    use_path[uses] = path
    # The name that a re-export gives; else nothing.
    use_shown[uses] = is_shown ? name : ""
    if (name != "" && !inline) imported[module, name] = path
}

# The file that defines what the path means in this module, or "" if that is none of ours.
function target_of(module, inline, path, followed,    part, count, k, name) {
    count = split(path, part, "::")
    k = 1
    if (part[1] == "crate") {
        module = ""
        k = 2
    } else if (part[1] == "self" || part[1] == "super") {
        if (part[1] == "self") k = 2
        for (; part[k] == "super"; k++) if (inline-- <= 0 && !sub(/::[^:]*$/, "", module)) module = ""
    } else if (!(below(module, part[1]) in file_of) && !((module, part[1]) in imported)) {
        return ""
    }
    for (; k <= count && below(module, part[k]) in file_of; k++) module = below(module, part[k])
    if (k > count || !((module, part[k]) in imported)) return file_of[module]
    path = imported[module, part[k]]
    for (k++; k <= count; k++) path = path "::" part[k]
    return followed > 20 ? "" : target_of(module, 0, path, followed + 1)
}

function below(module, name) {
    return module == "" ? name : module "::" name
}

function module_of(file) {
    sub(/^src\//, "", file)
    sub(/\.rs$/, "", file)
    gsub(/\//, "::", file)
    sub(/(^|::)(mod|lib)$/, "", file)
    return file
}

function room_of(file) {
    file = module_of(file)
    sub(/::.*/, "", file)
    return file
}

function find_circles(    k, user, used, name) {
    for (k = 1; k <= uses; k++) {
        user = file_of[use_module[k]]
        used = target_of(use_module[k], use_inline[k], use_path[k], 0)
        name = use_shown[k]
        if (used == "" || used == user || room_of(used) != room_of(user) || user == "src/lib.rs") continue
        # The parent's front page.
        if (name != "" && index(module_of(used), use_module[k] "::") == 1 && !((use_module[k], name) in mentioned)) continue
        if (!((user, used) in first_use)) {
            first_use[user, used] = use_line[k]
            used_by[user] = used_by[user] " " used
        }
    }
    for (k = 1; k <= file_count; k++) find_circles_of(files[k])
}

function find_circles_of(user,    list, count, k, seen) {
    count = split(used_by[user], list, " ")
    for (k = 1; k <= count; k++) {
        split("", seen)
        if (leads_to(list[k], user, seen)) breach(user, first_use[user, list[k]], "uses " list[k] ", which leads back here")
    }
}

function leads_to(from, to, seen,    list, count, k) {
    if (from == to) return 1
    if (from in seen) return 0
    seen[from]
    count = split(used_by[from], list, " ")
    for (k = 1; k <= count; k++) if (leads_to(list[k], to, seen)) return 1
    return 0
}
