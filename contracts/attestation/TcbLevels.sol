// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IDcapCollateral} from "../interfaces/IDcapCollateral.sol";
import {IntelJson} from "./IntelJson.sol";

/// @title TCB infos and QE identities, from Intel's JSON to packed bytes, and what they say of a platform.
/// @notice TCB info: a byte that counts TDX modules; each module as version, number of levels (a byte each) and those as
/// security version (1), status (1), date (5); then to the end the platform's levels as SGX components (16), TDX
/// components (16), PCE version (2), status (1), date (5), advisories (16).
/// QE identity: attributes (16), mask (16), MRSIGNER (32), product (2); then levels as security version (2), status (1),
/// date (5). Levels stand newest first, as Intel orders them.
library TcbLevels {
    using IntelJson for IntelJson.Cursor;

    uint256 private constant LEVEL_BYTES = 56;
    uint256 private constant MODULE_LEVEL_BYTES = 7;
    uint256 private constant QE_LEVELS_AT = 66;
    uint256 private constant QE_LEVEL_BYTES = 8;
    bytes32 private constant ZEROS = "00000000000000000000000000000000";

    /// @notice Thrown when no level covers a platform, module or quoting enclave: it is older than all that Intel judged.
    error NoTcbLevel();

    /// @notice What both kinds of documents begin with.
    struct Head {
        uint40 issueDate;
        uint40 nextUpdate;
        bytes6 fmspc;
        uint16 pceId;
        uint256 evalNumber;
    }

    /// @param newestDate date of the newest level there is.
    struct Level {
        uint8 status;
        uint40 date;
        uint40 newestDate;
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
        c.expect(',"tcbEvaluationDataNumber":');
        head.evalNumber = c.number();

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
        c.expect(',"tcbEvaluationDataNumber":');
        head.evalNumber = c.number();

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
            (uint8 status, uint40 date,) = c.verdict();
            packed = abi.encodePacked(packed, uint16(svn), status, date);
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
                (uint8 status, uint40 date,) = c.verdict();
                list = abi.encodePacked(list, uint8(svn), status, date);
                levels++;
            } while (c.skip(","));
            c.expect("]}");
            packed = abi.encodePacked(packed, uint8(version), uint8(levels), list);
            modules++;
        } while (c.skip(","));
        c.expect("]");
        packed = abi.encodePacked(uint8(modules), packed);
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
        (uint8 status, uint40 date, uint128 advisories) = c.verdict();
        return abi.encodePacked(sgx, tdx, uint16(pceSvn), status, date, advisories);
    }

    /* READING */

    /// @notice The first level that asks for no more than the platform has.
    /// @param teeSvn security versions of the TDX module that a quote reports, the first in the highest byte; 0 for SGX.
    /// @return platform verdict on the platform. @return module verdict on its TDX module, when that is judged apart.
    function judge(bytes memory tcbInfo, uint128 cpuSvn, uint256 pceSvn, uint128 teeSvn)
        internal
        pure
        returns (Level memory platform, Level memory module)
    {
        uint256 version = uint8(teeSvn >> 112);
        uint256 at = 1;
        bool found = version == 0;
        for (uint256 left = _read(tcbInfo, 0, 1); left > 0; left--) {
            uint256 levelsAt = at + 2;
            uint256 levelsEnd = levelsAt + _read(tcbInfo, at + 1, 1) * MODULE_LEVEL_BYTES;
            if (!found && _read(tcbInfo, at, 1) == version) {
                module = _firstCovered(tcbInfo, levelsAt, levelsEnd, 1, uint8(teeSvn >> 120));
                found = true;
            }
            at = levelsEnd;
        }
        if (!found) revert NoTcbLevel();

        // The module's own identity stands for the first two components.
        uint128 judged = version == 0 ? type(uint128).max : type(uint128).max >> 16;
        uint256 have = _spread(cpuSvn);
        uint256 haveTdx = _spread(teeSvn);
        platform.newestDate = uint40(_read(tcbInfo, at + 35, 5));
        for (; at < tcbInfo.length; at += LEVEL_BYTES) {
            if (
                pceSvn >= _read(tcbInfo, at + 32, 2) && _covers(have, uint128(_read(tcbInfo, at, 16)))
                    && _covers(haveTdx, uint128(_read(tcbInfo, at + 16, 16)) & judged)
            ) {
                platform.status = uint8(_read(tcbInfo, at + 34, 1));
                platform.date = uint40(_read(tcbInfo, at + 35, 5));
                platform.advisories = uint128(_read(tcbInfo, at + 40, 16));
                return (platform, module);
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

    function _firstCovered(bytes memory data, uint256 at, uint256 end, uint256 svnBytes, uint256 svn)
        private
        pure
        returns (Level memory level)
    {
        level.newestDate = uint40(_read(data, at + svnBytes + 1, 5));
        for (; at < end; at += svnBytes + 6) {
            if (svn >= _read(data, at, svnBytes)) {
                level.status = uint8(_read(data, at + svnBytes, 1));
                level.date = uint40(_read(data, at + svnBytes + 1, 5));
                return level;
            }
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

    /// @dev The big-endian number of `width` bytes at `at`, which must lie within `data`.
    function _read(bytes memory data, uint256 at, uint256 width) private pure returns (uint256 value) {
        if (at + width > data.length) revert NoTcbLevel();
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, width)), mload(add(add(data, 32), at)))
        }
    }
}
