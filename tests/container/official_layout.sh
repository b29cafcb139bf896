#!/bin/sh
# Run by mmdebstrap on a Debian tree ($1) to lay Python $2 out as the official slim images have it: interpreter,
# library and pip below /usr/local, commands without a version, no bytecode of the standard library.
set -eu
root="$1"
version="$2"
library="$root/usr/local/lib/python$version"

# Debian's packages leave an empty directory of that name.
rm -rf "$library"
mv "$root/usr/lib/python$version" "$library"
mv "$root/usr/bin/python$version" "$root/usr/local/bin/"
rm -rf "$library/sitecustomize.py" "$root/etc/python$version"
for name in python3 python; do ln -s "python$version" "$root/usr/local/bin/$name"; done

# Debian's interpreter looks for packages in <prefix>/local/lib/python<version>/dist-packages only.
mkdir -p "$library/site-packages" "$root/usr/local/local/lib/python$version"
ln -s "../../../lib/python$version/site-packages" "$root/usr/local/local/lib/python$version/dist-packages"

chroot "$root" /usr/local/bin/python -c "
import glob, zipfile
(wheel,) = glob.glob('/usr/share/python-wheels/pip-*.whl')
zipfile.ZipFile(wheel).extractall('/usr/local/lib/python$version/site-packages')"
printf '#!/usr/local/bin/python\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n' > "$root/usr/local/bin/pip"
chmod 755 "$root/usr/local/bin/pip"
for name in pip3 "pip$version"; do ln -s pip "$root/usr/local/bin/$name"; done
rm -rf "$root/usr/share/python-wheels" "$library/ensurepip/_bundled"
find "$library" -name __pycache__ -type d -prune -exec rm -rf {} +
