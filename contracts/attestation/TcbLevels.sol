// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {CONFIGURATION_NEEDED, SW_HARDENING_NEEDED, UNLISTABLE_ADVISORIES} from "../interfaces/IAttestationVerifier.sol";
import {IDcapCollateral} from "../interfaces/IDcapCollateral.sol";
import {IntelJson} from "./IntelJson.sol";

/// @title TCB infos and QE identities, from Intel's JSON to packed bytes, and what they say of a platform.
/// @notice TCB info: a byte that counts TDX modules; each module as version, number of levels (a byte each) and those as
/// security version (1), status (1); then to the end the platform's levels as SGX components (16), TDX components (16),
/// PCE version (2), status (1), advisories (16).
/// QE identity: attributes (16), mask (16), MRSIGNER (32), product (2); then levels as security version (2), status (1).
/// Levels stand newest first, as Intel orders them.
library TcbLevels {
    using IntelJson for IntelJson.Cursor;

    uint256 private constant LEVEL_BYTES = 51;
    uint256 private constant MODULE_LEVEL_BYTES = 2;
    uint256 private constant QE_LEVELS_AT = 66;
    bytes32 private constant ZEROS = "00000000000000000000000000000000";

    /// @notice Thrown when no level covers a platform, module or quoting enclave: it is older than all that Intel
    /// judged.
    /// @dev Update the platform's firmware, and make a new quote.
    error NoTcbLevel();

    /// @notice What both kinds of documents begin with.
    struct Head {
        uint40 issueDate;
        uint40 nextUpdate;
        bytes6 fmspc;
        uint16 pceId;
        uint16 evaluation;
    }

    struct Level {
        uint8 status;
        uint128 advisories;
    }

    /* WRITING */

    function packTcbInfo(bytes calldata json)
        internal
        pure
        returns (IDcapCollateral.Tee tee, Head memory head, bytes memory packed)
    {
        IntelJson.Cursor memory c = IntelJson.open(json);
        c.expect('{"id":"');
        tee = c.skip("TDX") ? IDcapCollateral.Tee.Tdx : IDcapCollateral.Tee.Sgx;
        if (tee == IDcapCollateral.Tee.Sgx) c.expect("SGX");
        c.expect('","version":3');
        _dates(c, head);
        c.expect(',"fmspc":"');
        head.fmspc = bytes6(uint48(c.hexadecimal(6)));
        c.expect('","pceId":"');
        head.pceId = uint16(c.hexadecimal(2));
        c.expect('","tcbType":0');
        _evaluation(c, head);

        packed = hex"00";
        if (tee == IDcapCollateral.Tee.Tdx) {
            c.expect(',"tdxModule":{');
            _intelModule(c);
            c.expect("}");
            if (c.skip(',"tdxModuleIdentities":[') && !c.skip("]")) packed = _packModules(c);
        }

        c.expect(',"tcbLevels":[');
        do {
            packed = bytes.concat(packed, _packLevel(c, tee));
        } while (c.skip(","));
        c.expect("]}");
        c.expectEnd();
    }

    function packQeIdentity(bytes calldata json)
        internal
        pure
        returns (IDcapCollateral.Tee tee, Head memory head, bytes memory packed)
    {
        IntelJson.Cursor memory c = IntelJson.open(json);
        c.expect('{"id":"');
        tee = c.skip("TD_") ? IDcapCollateral.Tee.Tdx : IDcapCollateral.Tee.Sgx;
        c.expect('QE","version":2');
        _dates(c, head);
        _evaluation(c, head);

        // Quoting enclaves select no miscellaneous features.
        c.expect(',"miscselect":"00000000"');
        c.expect(',"miscselectMask":"FFFFFFFF"');
        c.expect(',"attributes":"');
        uint256 attributes = c.hexadecimal(16);
        c.expect('","attributesMask":"');
        uint256 mask = c.hexadecimal(16);
        c.expect('","mrsigner":"');
        uint256 signer = c.hexadecimal(16) << 128;
        signer |= c.hexadecimal(16);
        c.expect('","isvprodid":');
        packed = abi.encodePacked(uint128(attributes), uint128(mask), signer, uint16(c.number()));

        c.expect(',"tcbLevels":[');
        do {
            c.expect('{"tcb":{"isvsvn":');
            uint256 svn = c.number();
            c.expect("}");
            packed = abi.encodePacked(packed, uint16(svn), _plainStatus(c));
        } while (c.skip(","));
        c.expect("]}");
        c.expectEnd();
    }

    function _dates(IntelJson.Cursor memory c, Head memory head) private pure {
        c.expect(',"issueDate":"');
        head.issueDate = c.time();
        c.expect(',"nextUpdate":"');
        head.nextUpdate = c.time();
    }

    function _evaluation(IntelJson.Cursor memory c, Head memory head) private pure {
        c.expect(',"tcbEvaluationDataNumber":');
        uint256 number = c.number();
        if (number > 0xffff) c.refuse();
        head.evaluation = uint16(number);
    }

    function _packModules(IntelJson.Cursor memory c) private pure returns (bytes memory packed) {
        uint256 modules;
        do {
            c.expect('{"id":"TDX_');
            uint256 version = c.hexadecimal(1);
            c.expect('",');
            _intelModule(c);
            c.expect(',"tcbLevels":[');
            uint256 levels;
            bytes memory list;
            do {
                c.expect('{"tcb":{"isvsvn":');
                uint256 svn = c.number();
                if (svn > 255) c.refuse();
                c.expect("}");
                list = abi.encodePacked(list, uint8(svn), _plainStatus(c));
                levels++;
            } while (c.skip(","));
            c.expect("]}");
            packed = abi.encodePacked(packed, uint8(version), uint8(levels), list);
            modules++;
        } while (c.skip(","));
        c.expect("]");
        packed = abi.encodePacked(uint8(modules), packed);
    }

    /// @dev Of a module or quoting enclave, which Intel calls up to date, out of date or revoked. With any other word the
    /// document is not understood, for advisories are kept of platforms alone.
    function _plainStatus(IntelJson.Cursor memory c) private pure returns (uint8 status) {
        (status,) = c.verdict();
        if (status & (CONFIGURATION_NEEDED | SW_HARDENING_NEEDED) != 0) c.refuse();
    }

    /// @dev Intel's own modules have an all-zero signer and attributes; a document that allows others is not understood.
    function _intelModule(IntelJson.Cursor memory c) private pure {
        c.expect('"mrsigner":"');
        c.expect(ZEROS);
        c.expect(ZEROS);
        c.expect(ZEROS);
        c.expect('","attributes":"');
        c.expect('0000000000000000"');
        c.expect(',"attributesMask":"');
        c.expect('FFFFFFFFFFFFFFFF"');
    }

    function _packLevel(IntelJson.Cursor memory c, IDcapCollateral.Tee tee) private pure returns (bytes memory) {
        c.expect('{"tcb":{"sgxtcbcomponents":');
        uint128 sgx = c.components();
        c.expect(',"pcesvn":');
        uint256 pceSvn = c.number();
        if (pceSvn > 0xffff) c.refuse();
        uint128 tdx;
        if (tee == IDcapCollateral.Tee.Tdx) {
            c.expect(',"tdxtcbcomponents":');
            tdx = c.components();
        }
        c.expect("}");
        (uint8 status, uint128 advisories) = c.verdict();
        return abi.encodePacked(sgx, tdx, uint16(pceSvn), status, advisories);
    }

    /* READING */

    /// @notice The first level that asks for no more than the platform has.
    /// @param teeSvn security versions of the TDX module that a quote reports, the first in the highest byte; 0 for SGX.
    /// @return level the verdict on the platform, joined with that on its TDX module where it is judged apart.
    function judge(bytes memory tcbInfo, uint128 cpuSvn, uint256 pceSvn, uint128 teeSvn)
        internal
        pure
        returns (Level memory level)
    {
        uint256 version = uint8(teeSvn >> 112);
        uint256 cursor = 1;
        bool found = version == 0;
        for (uint256 left = _read(tcbInfo, 0, 1); left > 0; left--) {
            uint256 levelsAt = cursor + 2;
            uint256 levelsEnd = levelsAt + _read(tcbInfo, cursor + 1, 1) * MODULE_LEVEL_BYTES;
            if (!found && _read(tcbInfo, cursor, 1) == version) {
                level = _firstCovered(tcbInfo, levelsAt, levelsEnd, 1, uint8(teeSvn >> 120));
                found = true;
            }
            cursor = levelsEnd;
        }
        if (!found) revert NoTcbLevel();

        // The module's own identity stands for the first two components.
        uint128 judged = version == 0 ? type(uint128).max : type(uint128).max >> 16;
        uint256 have = _spread(cpuSvn);
        uint256 haveTdx = _spread(teeSvn);
        for (; cursor < tcbInfo.length; cursor += LEVEL_BYTES) {
            if (
                pceSvn >= _read(tcbInfo, cursor + 32, 2) && _covers(have, uint128(_read(tcbInfo, cursor, 16)))
                    && _covers(haveTdx, uint128(_read(tcbInfo, cursor + 16, 16)) & judged)
            ) {
                Level memory covered =
                    Level(uint8(_read(tcbInfo, cursor + 34, 1)), uint128(_read(tcbInfo, cursor + 35, 16)));
                // If software must be hardened, but no advisory says against what, no policy can list what the code mitigates.
                if (covered.status & SW_HARDENING_NEEDED != 0 && covered.advisories == 0) {
                    covered.advisories = UNLISTABLE_ADVISORIES;
                }
                return join(level, covered);
            }
        }
        revert NoTcbLevel();
    }

    /// @notice Whether a quoting enclave's identity is the one that Intel signed, whatever its security version.
    function isQe(bytes memory qeIdentity, bytes32 signer, uint128 attributes, uint256 product)
        internal
        pure
        returns (bool)
    {
        return attributes & _read(qeIdentity, 16, 16) == _read(qeIdentity, 0, 16)
            && signer == bytes32(_read(qeIdentity, 32, 32)) && product == _read(qeIdentity, 64, 2);
    }

    /// @notice The verdict on a quoting enclave of that security version.
    function judgeQe(bytes memory qeIdentity, uint256 svn) internal pure returns (Level memory) {
        return _firstCovered(qeIdentity, QE_LEVELS_AT, qeIdentity.length, 2, svn);
    }

    /// @notice Both verdicts: what is wrong with either part is wrong with the whole.
    function join(Level memory a, Level memory b) internal pure returns (Level memory) {
        (uint128 all, uint128 more) = (a.advisories, b.advisories);
        if (more == UNLISTABLE_ADVISORIES) all = more;
        for (; more != 0 && all != UNLISTABLE_ADVISORIES; more >>= 16) {
            uint16 advisory = uint16(more);
            uint128 rest = all;
            while (uint16(rest) != advisory && rest != 0) rest >>= 16;
            if (rest == 0) all = all >> 112 == 0 ? all << 16 | advisory : UNLISTABLE_ADVISORIES;
        }
        return Level(a.status | b.status, all);
    }

    function _firstCovered(bytes memory data, uint256 cursor, uint256 end, uint256 svnBytes, uint256 svn)
        private
        pure
        returns (Level memory)
    {
        for (; cursor < end; cursor += svnBytes + 1) {
            if (svn >= _read(data, cursor, svnBytes)) return Level(uint8(_read(data, cursor + svnBytes, 1)), 0);
        }
        revert NoTcbLevel();
    }

    /// @dev Whether each of 16 spread numbers is at least its counterpart: bit 8 of each lane survives the subtraction.
    function _covers(uint256 have, uint128 need) private pure returns (bool) {
        uint256 ninth = 0x0100010001000100010001000100010001000100010001000100010001000100;
        return ((have | ninth) - _spread(need)) & ninth == ninth;
    }

    /// @dev Sixteen bytes, each in the low half of a lane of two.
    function _spread(uint128 svns) private pure returns (uint256 x) {
        x = svns;
        x = (x | x << 64) & 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
        x = (x | x << 32) & 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
        x = (x | x << 16) & 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
        x = (x | x << 8) & 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    }

    /// @dev The big-endian number of `width` bytes at `cursor`, which must lie within `data`.
    function _read(bytes memory data, uint256 cursor, uint256 width) private pure returns (uint256 value) {
        if (cursor + width > data.length) revert NoTcbLevel();
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, width)), mload(add(add(data, 32), cursor)))
        }
    }
}
