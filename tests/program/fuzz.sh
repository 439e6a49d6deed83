#!/bin/bash
# Every reader of files and of options stands whatever bytes: samples, inputs that broke one once, and some made by chance.
. tests/environment.sh
. tests/common/tap.sh
. tests/fuzz/seeds.sh

runs=600
for target in $("$BUILD/tests/fuzz/fuzz" --list); do
    mapfile -t files < <(seeds "$target")
    check "$target stands ${#files[@]} files and $runs that were made of them, in the memory it may take" \
        "$BUILD/tests/fuzz/fuzz" "$target" $runs "$work/input" "${files[@]}"
    [ ! -f "$work/input" ] || { cp "$work/input" "$BUILD/fuzz-$target-input"; echo "# the input: $BUILD/fuzz-$target-input"; }
done
finish
