#!/bin/sh
# The main job in a minute: a synthetic shop is imported, served, and changed by three events. Called by `make demo`.
# Everything happens in a temporary directory, which is removed at the end.
set -eu

bin=build/release
dir=$(mktemp -d "${TMPDIR:-/tmp}/recsysd-demo.XXXXXX")
daemon=
user=u042
tab=$(printf '\t')
bold='' plain=''
[ ! -t 1 ] || { bold=$(printf '\033[1m'); plain=$(printf '\033[0m'); }

cleanup() {
    [ -z "$daemon" ] || kill "$daemon" 2> /dev/null || true
    [ -z "$daemon" ] || wait "$daemon" 2> /dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

now_ms() { date +%s%3N; }
step_begin=$(now_ms)
step() {
    printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
    step_begin=$(now_ms)
}
took() { printf '   (%s ms)\n' $(($(now_ms) - step_begin)); }
ctl() { "$bin/recsysctl" --endpoint "ipc://$dir/socket" "$@"; }

# "category  title" of what the user did and is offered, side by side
category_of() { awk -F"$tab" -v id="$1" '$1 == id { print $3 }' "$dir/shop.item"; }
side_by_side() {
    ctl -q user history "$user" -n 10 -o ndjson 2> /dev/null | sed 's/.*"item": *"\([^"]*\)".*/\1/' > "$dir/history"
    ctl -q recommend "$user" -n 10 -o ndjson 2> /dev/null | sed 's/.*"item": *"\([^"]*\)".*/\1/' > "$dir/list"
    printf '   %-56s   %s\n' "what $user did last" "what recsysd recommends"
    paste "$dir/history" "$dir/list" | while IFS="$tab" read -r before listed; do
        printf '   %-56.56s   %.58s\n' "$(awk -F"$tab" -v id="$before" '$1 == id { print $3 ": " $2 }' "$dir/shop.item")" \
            "$(awk -F"$tab" -v id="$listed" '$1 == id { print $3 ": " $2 }' "$dir/shop.item")"
    done
}

step "A synthetic shop: 2,000 items with titles, text and image vectors; 500 users with planted tastes"
"$bin/make_shop" --out "$dir" --until-ms "$(now_ms)"
took

step "Start recsysd on an empty directory"
"$bin/recsysd" --data-dir "$dir/data" --listen "ipc://$dir/socket" --http off 2> "$dir/log" &
daemon=$!
for _ in $(seq 100); do
    ctl ping > /dev/null 2>&1 && break
    kill -0 "$daemon" 2> /dev/null || { cat "$dir/log" >&2; exit 69; }
    sleep 0.05
done
took

step "Import items, vectors and events"
ctl import --items "$dir/shop.item" --inter "$dir/shop.inter" --feature text="$dir/text.npy" --feature image="$dir/image.npy"
took
step "Wait until the default model is fitted on the vectors and the counts have caught up"
for _ in $(seq 100); do
    ctl status -o json > "$dir/status"
    ! grep -q '"in_model": *true' "$dir/status" || break
    sleep 0.1
done
sleep 0.5
took

step "History and list of user $user"
side_by_side
took

taste=$(category_of "$(sort "$dir/history" | sed 's/-[0-9]*$//' | uniq -c | sort -rn | awk 'NR == 1 { print $2 }' | xargs -I{} grep -m1 '^{}-' "$dir/history")")
other=$(awk -F"$tab" -v taste="$taste" 'NR > 1 && $3 != taste { print $3; exit }' "$dir/shop.item")
step "$user, whose taste is $taste, puts three items of $other into the cart"
awk -F"$tab" -v other="$other" '$3 == other { print $1 }' "$dir/shop.item" | head -n 3 | while read -r item; do
    ctl event add --user "$user" --item "$item" --behaviour cart > /dev/null
    awk -F"$tab" -v id="$item" '$1 == id { print "   " $2 }' "$dir/shop.item"
done
took

step "The very next list"
side_by_side
took

step "Why its first item (all of it: recsysctl why $user $(head -n 1 "$dir/list"))"
ctl recommend "$user" -n 1 --reason -o ndjson | sed -n 's/.*"reason": *"\([^"]*\)".*/   \1/p' | fold -s -w 110 | sed '2,$s/^/   /'
took

step "Stop"
kill "$daemon"
wait "$daemon" && daemon=
took
