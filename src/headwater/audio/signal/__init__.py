"""Signal processing without a flow; it needs scipy, which the extra `audio` installs."""

from headwater.extras import import_optional

import_optional("scipy", "audio")
