package beat_test

import _ "github.com/tandem-node/tandem/testutil/bubble" // tests here run in bubbles
