package forced

import _ "github.com/tandem-node/tandem/testutil/bubble" // tests here run in bubbles
