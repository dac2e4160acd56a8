// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Fixed} from "./Fixed.sol";

/// @title Powers of two with negative exponents, by a table and interpolation (docs/numerics.md, "Powers").
library Powers {
    /// @dev 257 entries of four bytes: 2^(-j / 256) with 30 fraction bits, to nearest.
    bytes internal constant TABLE = hex"400000003fd3b2d63fa784573f7b746d3f4f83033f23b0043ef7fb5b3ecc64f33ea0ecb73e7592923e4a566f3e1f38393df4"
        hex"37dd3dc955443d9e905b3d73e90d3d495f453d1ef2f03cf4a3f83cca72493ca05dcf3c7666763c4c8c2a3c22ced63bf92e67"
        hex"3bcfaac83ba643e63b7cf9ac3b53cc083b2abae43b01c62e3ad8edd13ab031ba3a8791d63a5f0e103a36a6563a0e5a9439e6"
        hex"2ab739be16ab39961e5d396e41ba394680af391edb2838f7511338cfe25d38a88ef2388156c0385a39b4383337bb380c50c3"
        hex"37e584b837bed38837983d213771c16f374b6061372519e436feede636d8dc5436b2e51c368d082b3667457136419cd9361c"
        hex"0e5335f699cc35d13f3335abfe743586d7803561ca42353cd6ab3517fca834f33c2634ce951634aa076434859301346137d9"
        hex"343cf5db3418ccf733f4bd1a33d0c63433ace833338923053365769b3341e2e2331e67c932fb054032d7bb3532b489983291"
        hex"7057326e6f62324b86a73228b6173205fda031e35d3231c0d4bc319e642d317c0b763159ca843137a14931158fb330f395b2"
        hex"30d1b33730afe82f308e348c306c983d304b13333029a55c30084ea82fe70f092fc5e66e2fa4d4c62f83da022f62f6132f42"
        hex"28e82f2172712f00d2a02ee049632ebfd6ad2e9f7a6c2e7f34912e5f050e2e3eebd22e1ee8ce2dfefbf32ddf25312dbf6479"
        hex"2d9fb9bc2d8024ea2d60a5f52d413ccd2d21e9632d02aba92ce3838e2cc471052ca573fd2c868c6a2c67ba3a2c48fd602c2a"
        hex"55ce2c0bc3732bed46422bcede2b2bb08b212b924d152b7423f72b560fbb2b3810502b1a25a92afc4fb82ade8e6d2ac0e1bc"
        hex"2aa349952a85c5ea2a6856ad2a4afbd02a2db5462a1082ff29f364ed29d65b0429b96534299c8370297fb5aa2962fbd52946"
        hex"55e22929c3c3290d456c28f0dacd28d483da28b84085289c10c1287ff47f2863ebb32847f64e282c14442810458727f48a09"
        hex"27d8e1be27bd4c9827a1ca8a27865b86276aff80274fb66a2734803727195cda26fe4c4626e34e6e26c8634626ad8abf2692"
        hex"c4ce26781165265d70772642e1f9262865dc260dfc1425f3a49525d95f5225bf2c3f25a50b4e258afc732570ffa2255714ce"
        hex"253d3bea252374eb2509bfc424f01c6824d68acc24bd0ae224a39c9f248a3ff72470f4dd2457bb45243e932324257c6b240c"
        hex"771123f3830823daa04623c1cebd23a90e6323905f2a2377c108235f33f02346b7d7232e4cb02315f27122fda90d22e57079"
        hex"22cd48a922b53191229d2b272285355d226d502a22557b81223db757222603a0220e605221f6cd6021df4ac021c7d86621b0"
        hex"7646219924572181e28c216ab0da21538f36213c7d9621257bed210e8a3120f7a85720e0d65420ca141c20b361a6209cbee6"
        hex"20862bd1206fa85c2059347d2042d028202c7b54201635f520000000";

    /// @notice 2^-t with `toBits` fraction bits, at most 30. t: 16 fraction bits, not negative.
    /// @param table `TABLE` in memory.
    function power(bytes memory table, uint256 t, uint256 toBits) internal pure returns (int256) {
        uint256 k = t >> 16;
        if (k > 32) k = 32;
        uint256 j = (t >> 8) & 255;
        uint256 here;
        uint256 there;
        assembly ("memory-safe") {
            let pair := mload(add(add(table, 0x20), shl(2, j)))
            here := shr(224, pair)
            there := and(shr(192, pair), 0xffffffff)
        }
        int256 exact = int256(here) + Fixed.shift((int256(there) - int256(here)) * int256(t & 255), 8);
        return Fixed.shift(exact, int256(30 - toBits + k));
    }
}
